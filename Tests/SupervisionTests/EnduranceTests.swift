import Foundation
import Logging
import Supervision
import Testing

/// Each in a process of its own, since memory and CPU time are measured.
@Suite(.serialized) struct EnduranceTests {
  @Test("A hundred thousand restarts leave no more than 5 MiB behind", .timeLimit(.minutes(5)))
  func restarts() async {
    let result = await #expect(processExitsWith: .success, observing: [\.standardOutputContent]) {
      let clock = ContinuousClock()
      let starts = Counter()
      let spec = ChildSpec(id: "a") { _ in
        starts.increment()
        return Routine { throw Stage.Crash(description: "once more") }
      }
      // The window is far shorter than a restart takes: the budget is never used up.
      let top = Supervisor(
        "top", intensity: Intensity(restarts: 10, period: .nanoseconds(1)), children: [spec],
        surroundings: surroundings(clock))
      let run = Task { try await top.run() }
      try await until("warm") { starts.value > 5_000 }
      let before = residentBytes()
      try await until("100,000 more") { starts.value > 105_000 }
      let growth = residentBytes() - before
      run.cancel()
      try await run.value
      print("figures: 100,000 restarts: resident memory grew by \(growth / 1024) KiB")
      #expect(growth <= 5 * 1_048_576)
    }
    printFigures(of: result)
  }

  @Test(
    "20,000 children start and stop at no more than ten times the cost of 1,000 each (OTP simple_one_for_one_scale_many_temporary_children, scale_start_stop_many_children)",
    .timeLimit(.minutes(5)),
    arguments: [true, false])
  func scale(_ isDynamic: Bool) async {
    let result = await #expect(processExitsWith: .success, observing: [\.standardOutputContent]) { [isDynamic] in
      _ = try await secondsPerChild(1_000, isDynamic)
      var few = Double.infinity
      for _ in 0..<3 { few = min(few, try await secondsPerChild(1_000, isDynamic)) }
      let many = try await secondsPerChild(20_000, isDynamic)
      print(
        "figures: start and stop, \(isDynamic ? "dynamic" : "static"): \(Int(few * 1e6)) µs of CPU a child with 1,000,",
        "\(Int(many * 1e6)) µs with 20,000")
      #expect(many < 10 * few)
    }
    printFigures(of: result)
  }
}

/// What the process printed about its measurements.
private func printFigures(of result: ExitTest.Result?) {
  let lines = String(decoding: result?.standardOutputContent ?? [], as: UTF8.self).split(separator: "\n")
  for line in lines where line.hasPrefix("figures: ") { print(line) }
}

private func surroundings(_ clock: any Clock<Duration>) -> Surroundings {
  var logger = Logger(label: "supervision.tests")
  logger.logLevel = .critical
  return Surroundings(clock: clock, logger: logger)
}

/// CPU time of this process to start and stop that many children, divided by their number.
private func secondsPerChild(_ count: Int, _ isDynamic: Bool) async throws -> Double {
  let specs = (0..<count).map { number in
    ChildSpec(id: "c\(number)", restart: .temporary) { _ in Routine { try await Task.sleep(for: .seconds(3600)) } }
  }
  let top = Supervisor("top", children: isDynamic ? [] : specs, surroundings: surroundings(ContinuousClock()))
  let before = clock()
  let run = Task { try await top.run() }
  try await top.ready()
  if isDynamic {
    for spec in specs { try await top.startChild(spec) }
    for number in stride(from: 0, to: count, by: 2) { try await top.terminateChild("c\(number)") }
  }
  #expect(await top.count().active == (isDynamic ? count / 2 : count))
  run.cancel()
  try await run.value
  return Double(clock() - before) / Double(CLOCKS_PER_SEC) / Double(count)
}

private func residentBytes() -> Int {
  let fields = (try? String(contentsOfFile: "/proc/self/statm", encoding: .utf8))?.split(separator: " ") ?? []
  return fields.count > 1 ? (Int(fields[1]) ?? 0) * 4096 : 0
}

private final class Counter: @unchecked Sendable {
  // Sendable is true: `count` is only touched while `lock` is held.
  private let lock = NSLock()
  private var count = 0

  var value: Int { lock.withLock { count } }
  func increment() { lock.withLock { count += 1 } }
}
