internal import Foundation

/// The epoch that this handle of the store writes in the name of; 0 until one is raised.
///
/// Sendable is true: the number is only touched while `lock` is held.
final class Fence: @unchecked Sendable {
  private let lock = NSLock()
  private var number: Int64 = 0

  var value: Int64 { lock.withLock { number } }

  func raise(to fence: Int64) { lock.withLock { number = max(number, fence) } }
}
