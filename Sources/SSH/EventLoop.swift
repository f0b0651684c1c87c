internal import CSSH2
internal import Glibc
package import Threads

/// One thread that waits on sockets with epoll and runs the actors that own them.
///
/// It is the `SerialExecutor` of every connection it serves: an event needs no hop to reach its actor, and key exchange
/// and signing stay off the cooperative pool. ``tasks`` runs whole tasks that do little but ask connections: they and the
/// connections then share a thread, and asking wakes nobody. Sockets are registered once, edge-triggered, for both directions.
/// Everything but `enqueue`, `execute` and `stop` belongs to the loop's own thread.
///
/// Its queues hold one job for each task that waits for an actor here and one timer for each operation in flight;
/// both are bounded by the connections' own bounds.
package final class EventLoop: SerialExecutor, @unchecked Sendable {
  // Sendable is true: `shared` has a lock; every other stored variable is touched on the loop's thread only, which
  // `assertOnThread` checks in debug builds.

  fileprivate struct Shared {
    var jobs: [UnownedJob] = []
    var taskJobs: [UnownedJob] = []
    var work: [@Sendable () -> Void] = []
    var thread: pthread_t?
    var isAwake = true
    var isStopping = false
    /// False after the thread's end; late jobs then get a thread of their own for a moment.
    var hasThread = true
    var stopped: [CheckedContinuation<Void, Never>] = []
  }

  private let shared = Locked(Shared())
  private let epoll: Int32
  private let wakeup: Int32
  private var handlers: [Int32: Registration] = [:]
  private var generation: UInt32 = 0
  private var timers = TimerQueue()
  /// What is being run now.
  private var jobs: [UnownedJob] = []
  private var taskJobs: [UnownedJob] = []
  private var work: [@Sendable () -> Void] = []
  /// Where channels read into; one for all connections of this loop, so that reading allocates nothing.
  let readBuffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 32 << 10, alignment: 16)

  private struct Registration {
    var generation: UInt32
    var handler: any EventHandler
  }

  /// - Throws: `ThreadError` when no file descriptor or thread can be had.
  package init(named name: String) throws(ThreadError) {
    epoll = epoll_create1(Int32(EPOLL_CLOEXEC))
    wakeup = eventfd(0, Int32(EFD_CLOEXEC | EFD_NONBLOCK))
    guard epoll >= 0, wakeup >= 0 else {
      throw ThreadError("no file descriptor for event loop \(name): errno \(errno)")
    }
    var event = epoll_event(events: EPOLLIN.rawValue | EPOLLET.rawValue, data: epoll_data_t(u64: UInt64(UInt32.max)))
    guard epoll_ctl(epoll, EPOLL_CTL_ADD, wakeup, &event) == 0 else {
      throw ThreadError("event loop \(name) cannot watch its own wake-up: errno \(errno)")
    }
    tasks.loop = self
    try OSThread(named: name) { [self] in run() }.detach()
  }

  deinit {
    // The thread holds a reference while it runs, so nobody uses these any more.
    if epoll >= 0 { close(epoll) }
    if wakeup >= 0 { close(wakeup) }
    readBuffer.deallocate()
  }

  // MARK: from any thread

  /// For tasks that shall run on this loop's thread; see ``Tasks``.
  package let tasks = Tasks()

  /// The loop as the preferred executor of tasks. What such a task does between its waits holds up every connection of
  /// the loop, so it must be little.
  package final class Tasks: TaskExecutor, Sendable {
    // Set once, before anybody else has the loop; weak, because the loop owns this.
    fileprivate nonisolated(unsafe) weak var loop: EventLoop?

    package func enqueue(_ job: consuming ExecutorJob) {
      let job = UnownedJob(job)
      guard let loop else {
        // No loop any more: a task that comes late must run all the same.
        let executor = asUnownedTaskExecutor()
        while (try? OSThread(named: "ssh-late") { job.runSynchronously(on: executor) }.detach()) == nil {
          usleep(10_000)
        }
        return
      }
      loop.signal(loop.shared.withLock { $0.add { $0.taskJobs.append(job) } })
    }
  }

  package func enqueue(_ job: consuming ExecutorJob) {
    let job = UnownedJob(job)
    signal(shared.withLock { $0.add { $0.jobs.append(job) } })
  }

  /// Runs `work` on the loop's thread, after what is queued already.
  func execute(_ work: @escaping @Sendable () -> Void) {
    signal(shared.withLock { $0.add { $0.work.append(work) } })
  }

  package func checkIsolated() {
    precondition(isIsolatingCurrentContext() == true, "not on the event loop's thread")
  }

  package func isIsolatingCurrentContext() -> Bool? { isOnThread }

  private var isOnThread: Bool {
    shared.withLock { $0.thread.map { pthread_equal($0, pthread_self()) != 0 } ?? false }
  }

  /// Ends every connection of the loop, then its thread; returns when it has ended. Idempotent.
  package func stop() async {
    await withCheckedContinuation { (continuation: CheckedContinuation<Void, Never>) in
      let wake: Wake? = shared.withLock { state in
        if !state.hasThread && state.isStopping { return nil }
        state.stopped.append(continuation)
        state.isStopping = true
        return state.add { _ in }
      }
      guard let wake else { return continuation.resume() }
      signal(wake)
    }
  }

  private func signal(_ wake: Wake) {
    switch wake {
    case .none: return
    case .event:
      var one: UInt64 = 1
      _ = write(wakeup, &one, 8)
    case .thread:
      // The loop has stopped; a job that comes late must run all the same, or whoever awaits it hangs.
      while (try? OSThread(named: "ssh-late") { [self] in runLate() }.detach()) == nil { usleep(10_000) }
    }
  }

  // MARK: on the loop's thread

  /// Suspends a task that runs on this loop: its own timers wake it, and no other thread is involved.
  ///
  /// - Parameter deadline: in nanoseconds of ``now()``. A cancelled task sleeps on; keep it short.
  package func sleep(until deadline: UInt64) async {
    await withCheckedContinuation { (continuation: CheckedContinuation<Void, Never>) in
      execute { [self] in _ = timers.add(at: deadline) { continuation.resume() } }
    }
  }

  /// Nanoseconds of the monotonic clock.
  package static func now() -> UInt64 {
    var time = timespec()
    clock_gettime(CLOCK_MONOTONIC, &time)
    return UInt64(bitPattern: Int64(time.tv_sec)) &* 1_000_000_000 &+ UInt64(bitPattern: Int64(time.tv_nsec))
  }

  /// Watches a socket from now on, both directions, edge-triggered.
  func add(_ descriptor: Int32, _ handler: any EventHandler) -> Bool {
    generation &+= 1
    let key = UInt64(generation) << 32 | UInt64(UInt32(bitPattern: descriptor))
    let interest = EPOLLIN.rawValue | EPOLLOUT.rawValue | EPOLLRDHUP.rawValue | EPOLLET.rawValue
    var event = epoll_event(events: interest, data: epoll_data_t(u64: key))
    guard epoll_ctl(epoll, EPOLL_CTL_ADD, descriptor, &event) == 0 else { return false }
    handlers[descriptor] = Registration(generation: generation, handler: handler)
    return true
  }

  func remove(_ descriptor: Int32) {
    guard handlers.removeValue(forKey: descriptor) != nil else { return }
    var event = epoll_event()
    epoll_ctl(epoll, EPOLL_CTL_DEL, descriptor, &event)
  }

  /// Calls `body` on this thread after `delay`, unless cancelled.
  func schedule(after delay: Duration, _ body: @escaping () -> Void) -> TimerQueue.ID {
    timers.add(at: Self.now() &+ delay.nanoseconds, body)
  }

  func cancel(_ timer: TimerQueue.ID?) {
    if let timer { timers.cancel(timer) }
  }

  private func run() {
    shared.withLock { $0.thread = pthread_self() }
    var events = [epoll_event](repeating: epoll_event(), count: 128)
    while true {
      // What was run often queues more for this thread; the kernel is asked only now and then meanwhile.
      var rounds = 0
      while rounds < 16, runQueued() { rounds += 1 }
      let now = Self.now()
      while let due = timers.popDue(at: now) { due() }
      let (isIdle, isStopping) = shared.withLock { state in
        let isIdle = state.jobs.isEmpty && state.taskJobs.isEmpty && state.work.isEmpty
        if isIdle { state.isAwake = false }
        return (isIdle, state.isStopping)
      }
      if isStopping && isIdle {
        if !handlers.isEmpty {
          for registration in handlers.values { registration.handler.loopStops() }
          continue
        }
        if finish() { return }
        continue
      }
      let count = epoll_wait(epoll, &events, Int32(events.count), isIdle ? timers.wait(at: Self.now()) : 0)
      if isIdle { shared.withLock { $0.isAwake = true } }
      guard count > 0 else { continue }
      for index in 0..<Int(count) { dispatch(events[index]) }
    }
  }

  private func dispatch(_ event: epoll_event) {
    let key = event.data.u64
    if key == UInt64(UInt32.max) {
      var value: UInt64 = 0
      _ = read(wakeup, &value, 8)
      return
    }
    let descriptor = Int32(bitPattern: UInt32(truncatingIfNeeded: key))
    // A descriptor closed and taken again within this batch has a newer generation.
    guard let registration = handlers[descriptor], registration.generation == UInt32(truncatingIfNeeded: key >> 32)
    else { return }
    registration.handler.ready(event.events)
  }

  /// Runs what is queued; returns whether there was anything.
  @discardableResult
  private func runQueued() -> Bool {
    // The arrays change places, so that none is made anew.
    shared.withLock { state in
      swap(&state.jobs, &jobs)
      swap(&state.taskJobs, &taskJobs)
      swap(&state.work, &work)
    }
    if jobs.isEmpty && taskJobs.isEmpty && work.isEmpty { return false }
    let executor = asUnownedSerialExecutor()
    for job in jobs { job.runSynchronously(on: executor) }
    if !taskJobs.isEmpty {
      let executor = tasks.asUnownedTaskExecutor()
      for job in taskJobs { job.runSynchronously(on: executor) }
    }
    for body in work { body() }
    jobs.removeAll(keepingCapacity: true)
    taskJobs.removeAll(keepingCapacity: true)
    work.removeAll(keepingCapacity: true)
    return true
  }

  /// Marks the thread as gone, unless something came in the meantime.
  private func finish() -> Bool {
    let waiting: [CheckedContinuation<Void, Never>]? = shared.withLock { state in
      guard state.jobs.isEmpty, state.taskJobs.isEmpty, state.work.isEmpty else { return nil }
      state.thread = nil
      state.hasThread = false
      defer { state.stopped = [] }
      return state.stopped
    }
    guard let waiting else { return false }
    for continuation in waiting { continuation.resume() }
    return true
  }

  private func runLate() {
    shared.withLock { $0.thread = pthread_self() }
    repeat {
      runQueued()
      while let due = timers.popDue(at: .max) { due() }
    } while !finish()
  }

  fileprivate enum Wake: Sendable { case none, event, thread }
}

extension EventLoop.Shared {
  /// Adds work and says who has to be told of it.
  fileprivate mutating func add(_ body: (inout Self) -> Void) -> EventLoop.Wake {
    body(&self)
    guard hasThread else {
      hasThread = true
      return .thread
    }
    if isAwake { return .none }
    isAwake = true
    return .event
  }
}

/// What an ``EventLoop`` calls, on its own thread.
protocol EventHandler: AnyObject {
  /// Something happened on the socket: a set of EPOLL flags.
  func ready(_ events: UInt32)
  /// The loop is about to stop: the handler must end and remove itself.
  func loopStops()
}

extension Duration {
  /// Whole nanoseconds; negative counts as 0, too long as far away (half of UInt64's range).
  var nanoseconds: UInt64 {
    let (seconds, attoseconds) = components
    guard seconds >= 0, attoseconds >= 0 else { return 0 }
    let (whole, overflow) = UInt64(seconds).multipliedReportingOverflow(by: 1_000_000_000)
    guard !overflow, whole < UInt64.max / 2 else { return UInt64.max / 2 }
    return whole + UInt64(attoseconds) / 1_000_000_000
  }
}
