internal import Foundation

/// Runs work that recurses as deep as its input goes on a thread that has the room for it.
///
/// The YAML parser nests up to 1,000 levels before it refuses a text; a thread with a small stack would end the process
/// there.
enum DeepWork {
  /// Many times what 1,000 levels take; only pages that are touched become real.
  private static let stack = 16 << 20
  /// Far beyond what the largest text takes; reached only when no thread could be started.
  private static let deadline: TimeInterval = 120

  /// Blocks until the work is done. Returns nil when it could not be.
  static func run<Result: Sendable>(_ work: @escaping @Sendable () -> Result) -> Result? {
    let box = Box<Result>()
    let thread = Thread { box.put(work()) }
    thread.stackSize = stack
    thread.start()
    return box.take(until: Date(timeIntervalSinceNow: deadline))
  }

  /// Sendable because `result` is only touched between lock and unlock.
  private final class Box<Result: Sendable>: @unchecked Sendable {
    private let condition = NSCondition()
    private var result: Result?

    func put(_ value: Result) {
      condition.lock()
      result = value
      condition.signal()
      condition.unlock()
    }

    func take(until end: Date) -> Result? {
      condition.lock()
      defer { condition.unlock() }
      while result == nil, condition.wait(until: end) {}
      return result
    }
  }
}
