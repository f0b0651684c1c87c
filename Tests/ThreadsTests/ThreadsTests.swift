import Testing

@testable import Threads

@Suite("Threads of our own")
struct ThreadsTests {
  private actor Counter {
    nonisolated let executor: ThreadExecutor
    nonisolated var unownedExecutor: UnownedSerialExecutor { executor.asUnownedSerialExecutor() }
    var value = 0
    init(_ executor: ThreadExecutor) { self.executor = executor }
    func increment() { value += 1 }
    nonisolated func isHere() -> Bool? { executor.isIsolatingCurrentContext() }
    func isHereInside() -> Bool? { isHere() }
    func assume() -> Int { assumeIsolated { $0.value } }
  }

  @Test("An actor on a thread of its own runs one job at a time, and knows whether it is there")
  func executor() async throws {
    let executor = try ThreadExecutor(named: "test-executor")
    let counter = Counter(executor)
    await withTaskGroup(of: Void.self) { group in
      for _ in 0..<100 { group.addTask { for _ in 0..<100 { await counter.increment() } } }
    }
    #expect(await counter.value == 10_000)
    #expect(await counter.isHereInside() == true)
    #expect(counter.isHere() == false)
    #expect(await counter.assume() == 10_000)
    executor.stop()
  }

  @Test("A job that comes after the executor was stopped still runs")
  func afterStop() async throws {
    let executor = try ThreadExecutor(named: "test-stopped")
    let counter = Counter(executor)
    await counter.increment()
    executor.stop()
    for _ in 0..<50 { await counter.increment() }
    #expect(await counter.value == 51)
  }

  @Test("Joining a thread waits for its end")
  func join() throws {
    let done = Locked(false)
    let thread = try OSThread(named: "test-join") { done.withLock { $0 = true } }
    thread.join()
    #expect(done.withLock { $0 })
  }

  @Test("The pool runs no more calls at once than it has threads, and all of them")
  func poolBound() async throws {
    let pool = BlockingPool(named: "test-pool", threads: 3, queueLimit: 100)
    let state = Locked((running: 0, most: 0, done: 0))
    try await withThrowingTaskGroup(of: Void.self) { group in
      for _ in 0..<60 {
        group.addTask {
          try await pool.run {
            state.withLock {
              $0.running += 1
              $0.most = max($0.most, $0.running)
            }
            var sum = 0
            for number in 0..<10_000 { sum &+= number }
            state.withLock {
              $0.running -= 1
              $0.done += sum > 0 ? 1 : 0
            }
          }
        }
      }
      try await group.waitForAll()
    }
    let final = state.withLock { $0 }
    #expect(final.done == 60)
    #expect(final.most <= 3)
    pool.stop()
  }

  @Test("A full queue refuses at once, and what waits is done when the thread comes free")
  func poolFull() async throws {
    let pool = BlockingPool(named: "test-full", threads: 1, queueLimit: 2)
    let gate = Condition((isOpen: false, hasStarted: false))
    let done = Condition(0)
    try pool.submit {
      gate.changeForAll { $0.hasStarted = true }
      gate.wait { $0.isOpen ? true : nil }
      done.changeForAll { $0 += 1 }
    }
    try OSThread(named: "test-wait") { _ = gate.wait { $0.hasStarted ? true : nil } }.join()
    try pool.submit { done.changeForAll { $0 += 1 } }
    try pool.submit { done.changeForAll { $0 += 1 } }
    #expect(throws: ThreadError("test-full: 2 calls wait already")) { try pool.submit {} }
    gate.changeForAll { $0.isOpen = true }
    try OSThread(named: "test-done") { _ = done.wait { $0 == 3 ? true : nil } }.join()
    pool.stop()
    #expect(throws: ThreadError("test-full is stopped")) { try pool.submit {} }
  }

  @Test("What the work throws reaches the caller")
  func poolThrows() async throws {
    struct Failure: Error, Equatable {}
    let pool = BlockingPool(named: "test-throws")
    await #expect(throws: Failure()) { try await pool.run { throw Failure() } }
    pool.stop()
  }
}
