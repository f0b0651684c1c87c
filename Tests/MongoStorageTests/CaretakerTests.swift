import Foundation
import TestKit
import Testing

@Suite("What test servers leave behind")
struct CaretakerTests {
  @Test("is ended and removed when the owner's end is seen, and what belongs to others stays")
  func leavesNothing() async throws {
    let around = try TemporaryDirectory("caretaker")
    func server(_ name: String) throws -> ManagedProcess {
      let data = around.file(name) + "/data-0"
      try FileManager.default.createDirectory(atPath: data, withIntermediateDirectories: true)
      return try ManagedProcess(["sh", "-c", "read line", "sh", "--dbpath", data])
    }
    let (ours, other) = (try server("ours"), try server("ours-not"))
    var caretaker: Caretaker? = try Caretaker(folder: around.file("ours"))
    #expect(caretaker != nil && ours.isRunning)
    // What the kernel does when the owner is killed: the pipe's end is closed.
    caretaker = nil
    #expect(try await ours.exit(within: .seconds(20)) == 128 + SIGKILL)
    let deadline = ContinuousClock.now + .seconds(20)
    // Another process removes it, and tells nobody.
    while FileManager.default.fileExists(atPath: around.file("ours")), ContinuousClock.now < deadline {
      try await Task.sleep(for: .milliseconds(20))
    }
    #expect(try FileManager.default.contentsOfDirectory(atPath: around.path) == ["ours-not"])
    #expect(other.isRunning)
    await other.stop()
  }
}
