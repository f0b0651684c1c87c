internal import Model
internal import Remote

/// What one connection tells: the process's figures, and what it did to its target.
struct ConnectionMetrics: Sendable {
  private let shared: SSHMetrics
  private let touch: (any TouchAccount)?

  init(_ shared: SSHMetrics, touch: (any TouchAccount)?) {
    self.shared = shared
    self.touch = touch
  }

  func attemptBegan() { shared.attemptBegan() }

  /// An attempt to connect has ended; `ok` is a login.
  func attempt(result: String, phase: String) {
    shared.attempt(result: result, phase: phase)
    if result == "ok" { touch?.note(.login) }
  }

  func handshake(nanoseconds: UInt64) { shared.handshake(nanoseconds: nanoseconds) }
  func deadPeer(_ how: String) { shared.deadPeer(how) }
  func connectionOpened() { shared.connectionOpened() }
  func connectionEnded() { shared.connectionEnded() }

  /// - Parameter isInner: they travel in another connection, which counts them, too.
  func bytes(received: UInt64, sent: UInt64, isInner: Bool = false) {
    if !isInner { shared.bytes(received: received, sent: sent) }
    touch?.note(.bytes(received: Int64(clamping: received), sent: Int64(clamping: sent)))
  }

  /// - Parameter waited: nanoseconds from the moment a command wanted a channel.
  func channelOpened(waited: UInt64) {
    shared.channelOpened(waited: waited)
    touch?.note(.channelOpened)
  }

  func channelClosed() {
    shared.channelClosed()
    touch?.note(.channelClosed)
  }

  func readerStarted(_ kind: ResidentReader.Kind) { shared.readerStarted(kind) }
  func readerAnswered() { shared.readerAnswered() }

  /// The server has started a program in a channel, or the resident reader one.
  func commandStarted() { touch?.note(.command) }

  /// A resident reader was asked.
  func readerAsked() { touch?.note(.poll) }
}
