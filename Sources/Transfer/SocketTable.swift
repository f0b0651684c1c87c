internal import Glibc
internal import Threads

/// Which socket belongs to which transfer. Lives longer than all transfers.
///
/// An entry goes before its socket is closed and comes after it was opened: what is shut down here is never somebody
/// else's.
final class SocketTable: Sendable {
  private let owners = Locked<[Int32: UInt64]>([:])

  func add(_ descriptor: Int32, for id: UInt64) { owners.withLock { $0[descriptor] = id } }
  func remove(_ descriptor: Int32) { owners.withLock { $0[descriptor] = nil } }

  /// What comes from the peer is no longer wanted; what we say still goes out.
  func stopReading(for id: UInt64) { shutDown(SHUT_RD, for: id) }

  /// Nothing more in either direction: a call that waits for this socket returns.
  func breakOff(for id: UInt64) { shutDown(SHUT_RDWR, for: id) }

  /// Does not wait, so it may happen under the lock.
  private func shutDown(_ how: some BinaryInteger, for id: UInt64) {
    owners.withLock { owners in
      for (descriptor, owner) in owners where owner == id { _ = shutdown(descriptor, Int32(how)) }
    }
  }
}
