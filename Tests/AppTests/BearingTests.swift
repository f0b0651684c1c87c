internal import Foundation
internal import Glibc
internal import Logging
internal import Model
internal import Supervision
internal import TestKit
internal import Testing

@testable internal import App

/// What the service bears from its surroundings, and what it says when it cannot.
@Suite(.serialized) struct BearingTests {
  private struct Broken: Error {}

  @Test("A tree that has given up is drained at once, so that the process can say so with its own exit code")
  func exhausted() async throws {
    let root = Supervisor(
      "Root", intensity: Intensity(restarts: 0, period: .seconds(5)),
      children: [ChildSpec(id: "broken") { _ in Routine { throw Broken() } }], clock: ContinuousClock(),
      logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
    await #expect(throws: SupervisorError.self) { try await root.run() }
    // Would end the test's own process after 20 s if it waited for a tree that stops no more.
    await Service.drain(
      root, for: .exhausted("broken"), logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
    #expect(root.snapshot().state == .failed)
  }

  @Test("A second service on the same state folder or the same store is refused, and the first goes on")
  func second() async throws {
    let first = try SyscrapProcess()
    try await first.start()
    let again = try await first.run(["run"])
    #expect(again.status == 1)
    let holder = await first.processIdentifier ?? 0
    #expect(again.errorText.contains("another syscrap (process \(holder)) uses the state folder"))
    let other = try SyscrapProcess("store: sqlite:\(first.directory.file("state/syscrap.db"))")
    let same = try await other.run(["run"])
    #expect(same.status == 1)
    #expect(same.errorText.contains("uses the store"))
    let tree = try await first.run(["tree"])
    #expect(tree.status == 0)
    #expect(tree.lines.first?.hasPrefix("Root  running") == true)
    await first.stop()
  }

  @Test("A port that is taken is a problem that is shown; when it is free the service listens, with nothing restarted")
  func portTaken() async throws {
    let holder = try SyscrapProcess()
    try await holder.start()
    let address = try String(contentsOfFile: holder.directory.file("state/address"), encoding: .utf8)
    let port = try #require(address.split(separator: ":").last?.trimmingCharacters(in: .whitespacesAndNewlines))
    let service = try SyscrapProcess("http: {listen: '127.0.0.1:\(port)'}")
    try await service.start(ready: "is taken by another program")
    await holder.stop()
    try await service.listens(after: 0, within: .seconds(30))
    let tree = try await service.run(["tree"])
    #expect(tree.lines.contains { $0.contains("Gateway  running") && !$0.contains("restarts") })
    await service.stop()
  }

  @Test("Of two documents with one id the second is refused, and neither is called created when the first is broken")
  func doubles() async throws {
    let program = try SyscrapProcess()
    let file = try program.directory.write(
      "double.yaml", "{kind: target, target: web-6, port: 70000}\n---\n{kind: target, target: web-6}\n")
    let applied = try await program.run(["apply", "-f", file])
    #expect(applied.status == 1)
    #expect(applied.lines == ["targets/web-6 refused", "targets/web-6 refused"])
    #expect(try await program.run(["get", "targets", "-o", "name"]).lines == [])
  }

  @Test("Output that cannot be written is a failure that is said")
  func fullOutput() async throws {
    let program = try SyscrapProcess()
    let file = try program.directory.write("good.yaml", "{kind: target, target: web-6}\n")
    #expect(try await program.run(["apply", "-f", file]).status == 0)
    let process = Process()
    process.executableURL = URL(fileURLWithPath: SyscrapProcess.program)
    process.arguments = ["get", "targets", "--config", program.directory.file("syscrap.yaml")]
    process.standardOutput = FileHandle(forWritingAtPath: "/dev/full")
    let errors = Pipe()
    process.standardError = errors
    try process.run()
    let said = String(decoding: errors.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
    process.waitUntilExit()
    #expect(process.terminationStatus == 1)
    #expect(said.contains("the output could not be written"))
  }

  @Test("A metric nobody knows, and a field it has not, are answered with what is wrong")
  func unknownNames() async throws {
    let service = try SyscrapProcess()
    try await service.start()
    let wrong = try await service.run(["history", "box", "Vitals.CPUU"])
    #expect(wrong.status == 3)
    #expect(wrong.errorText.contains("did you mean Vitals.CPU?"))
    await service.stop()
  }
}
