internal import CSSH2
package import Threads

/// The loops that all connections share, and the threads for name lookups and key agents.
///
/// Stop it before the process calls `exit()`: OpenSSL's exit handler crashes under a loop that still uses it.
///
/// Two loops carry some thousand connections; a loop serves the connections it was given until they end.
package final class EventLoopGroup: Sendable {
  private let loops: [EventLoop]
  private let next = Locked(0)
  let blocking: BlockingPool
  /// Name lookups only: a name server that does not answer must not hold up who needs none.
  let lookups: BlockingPool
  /// Private keys, parsed once for all connections.
  let keys = KeyStore()
  /// Lets connections begin at a pace that servers bear.
  let gate: ConnectGate
  /// The connections to jump hosts, shared by all that travel through them.
  let jumps = JumpPool()

  /// - Parameters:
  ///   - count: threads that wait on sockets.
  ///   - connects: how fast connections may begin.
  /// - Throws: `ThreadError` when no thread or file descriptor can be had.
  package init(count: Int = 2, connects: ConnectGate.Limits = .init()) throws(ThreadError) {
    _ = Self.keepsMemory
    gate = ConnectGate(limits: connects)
    var loops: [EventLoop] = []
    for index in 0..<max(1, count) { loops.append(try EventLoop(named: "ssh-loop-\(index)")) }
    self.loops = loops
    blocking = BlockingPool(named: "ssh-blocking", threads: 4, queueLimit: 1024)
    // A name server that does not answer holds a thread for many seconds.
    lookups = BlockingPool(named: "ssh-lookups", threads: 8, queueLimit: 1024)
  }

  /// libssh2 takes and frees some 70 KiB with each answer. Left to itself the system's allocator gives that back each time
  /// and takes it anew, which costs a loop's thread a tenth of a poll: up to 2 MiB a thread are kept instead.
  private static let keepsMemory = mallopt(M_TRIM_THRESHOLD, 2 << 20)

  /// The loop for the next connection, in turn.
  package func loop() -> EventLoop {
    loops[
      next.withLock { index in
        index = (index + 1) % loops.count
        return index
      }]
  }

  /// Lets jump hosts that failed be tried again at once: what was wrong may have been mended.
  package func hurryJumpHosts() async { await jumps.hurry() }

  /// Ends all connections and threads; returns when the loops have ended. Idempotent.
  package func stop() async {
    for loop in loops { await loop.stop() }
    blocking.stop()
    lookups.stop()
  }
}
