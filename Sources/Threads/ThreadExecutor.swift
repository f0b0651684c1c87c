internal import Glibc

/// Runs actors on one thread of its own, where they may make calls that wait.
///
/// An actor uses it by returning it from `unownedExecutor`, and holds it strongly. Its queue of jobs has no bound of
/// its own: it holds at most one job for each task that waits for the actor.
package final class ThreadExecutor: SerialExecutor {
  private struct State {
    var jobs: [UnownedJob] = []
    var thread: pthread_t?
    var isStopping = false
    var hasThread = true
  }
  private let state = Condition(State())
  private let name: String

  /// - Throws: `ThreadError` when the system has no thread left.
  package init(named name: String) throws(ThreadError) {
    self.name = name
    try startThread()
  }

  package func enqueue(_ job: consuming ExecutorJob) {
    let job = UnownedJob(job)
    var needsThread = false
    state.change { state in
      state.jobs.append(job)
      needsThread = !state.hasThread
      if needsThread { state.hasThread = true }
      return true
    }
    // A job that comes after `stop()` still has to run, or whoever awaits it never goes on.
    if needsThread { restart() }
  }

  package func checkIsolated() {
    precondition(isIsolatingCurrentContext() == true, "not on the thread of executor \(name)")
  }

  package func isIsolatingCurrentContext() -> Bool? {
    state.withLock { $0.thread.map { pthread_equal($0, pthread_self()) != 0 } ?? false }
  }

  /// Ends the thread once the jobs that wait now have run. Jobs that come later get a short-lived thread.
  package func stop() {
    state.change { state in
      state.isStopping = true
      return true
    }
  }

  private func startThread() throws(ThreadError) {
    try OSThread(named: name) { [self] in run() }.detach()
  }

  private func restart() {
    while true {
      do {
        return try startThread()
      } catch {
        // No thread to be had: losing the job would hang a task for ever, so ask again until there is one.
        usleep(10_000)
      }
    }
  }

  private func run() {
    state.withLock { $0.thread = pthread_self() }
    while true {
      let batch: [UnownedJob] = state.wait { state in
        if !state.jobs.isEmpty {
          defer { state.jobs = [] }
          return state.jobs
        }
        guard state.isStopping else { return nil }
        state.thread = nil
        state.hasThread = false
        return []
      }
      if batch.isEmpty { return }
      for job in batch { job.runSynchronously(on: asUnownedSerialExecutor()) }
    }
  }
}
