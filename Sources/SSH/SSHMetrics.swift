package import Metrics
internal import Remote
internal import Threads

/// What the connections tell of themselves. One for the process, shared by all connectors.
package final class SSHMetrics: Sendable {
  private let factory: any MetricsFactory
  private let received: Counter
  private let sent: Counter
  private let handshake: Metrics.Timer
  private let answered: Counter
  private let connections: Gauge
  private let channels: Gauge
  private let counts = Locked((connections: 0, channels: 0))

  package init(factory: any MetricsFactory = MetricsSystem.factory) {
    self.factory = factory
    received = Counter(label: "ssh_received_bytes_total", dimensions: [], factory: factory)
    sent = Counter(label: "ssh_sent_bytes_total", dimensions: [], factory: factory)
    handshake = Metrics.Timer(label: "ssh_handshake_seconds", dimensions: [], factory: factory)
    answered = Counter(label: "ssh_reader_answers_total", dimensions: [], factory: factory)
    connections = Gauge(label: "ssh_connections", dimensions: [], factory: factory)
    channels = Gauge(label: "ssh_channels_open", dimensions: [], factory: factory)
  }

  /// Connections open now.
  package var openConnections: Int { counts.withLock { $0.connections } }
  /// Channels open now.
  package var openChannels: Int { counts.withLock { $0.channels } }

  func attempt(result: String, phase: String) {
    Counter(
      label: "ssh_connect_attempts_total", dimensions: [("result", result), ("phase", phase)], factory: factory
    ).increment()
  }

  func handshake(nanoseconds: UInt64) { handshake.recordNanoseconds(Int64(clamping: nanoseconds)) }

  func readerStarted(_ kind: ResidentReader.Kind) {
    Counter(label: "ssh_readers_started_total", dimensions: [("kind", kind.rawValue)], factory: factory).increment()
  }

  func readerAnswered() { answered.increment() }

  func deadPeer(_ how: String) {
    Counter(label: "ssh_dead_peer_total", dimensions: [("how", how)], factory: factory).increment()
  }

  func bytes(received count: UInt64, sent sentCount: UInt64) {
    if count > 0 { received.increment(by: Int64(clamping: count)) }
    if sentCount > 0 { sent.increment(by: Int64(clamping: sentCount)) }
  }

  func connectionOpened() {
    connections.record(
      counts.withLock {
        $0.connections += 1; return $0.connections
      })
  }
  func connectionEnded() {
    connections.record(
      counts.withLock {
        $0.connections -= 1; return $0.connections
      })
  }
  func channelOpened() {
    channels.record(
      counts.withLock {
        $0.channels += 1; return $0.channels
      })
  }
  func channelClosed() {
    channels.record(
      counts.withLock {
        $0.channels -= 1; return $0.channels
      })
  }
}
