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
  private let channelWait: Metrics.Timer
  private let gateWait: Metrics.Timer
  private let establishing: Gauge
  private let connections: Gauge
  private let channels: Gauge
  private let mismatches: Counter
  private let policyRefusals: Counter
  private let counts = Locked((establishing: 0, connections: 0, channels: 0))

  package init(factory: any MetricsFactory = MetricsSystem.factory) {
    self.factory = factory
    received = Counter(label: "ssh_received_bytes_total", dimensions: [], factory: factory)
    sent = Counter(label: "ssh_sent_bytes_total", dimensions: [], factory: factory)
    handshake = Metrics.Timer(label: "ssh_handshake_seconds", dimensions: [], factory: factory)
    answered = Counter(label: "ssh_reader_answers_total", dimensions: [], factory: factory)
    channelWait = Metrics.Timer(label: "ssh_channel_open_wait_seconds", dimensions: [], factory: factory)
    gateWait = Metrics.Timer(label: "ssh_gate_wait_seconds", dimensions: [], factory: factory)
    establishing = Gauge(label: "ssh_connections", dimensions: [("state", "establishing")], factory: factory)
    connections = Gauge(label: "ssh_connections", dimensions: [("state", "open")], factory: factory)
    channels = Gauge(label: "ssh_channels_open", dimensions: [], factory: factory)
    mismatches = Counter(label: "ssh_hostkey_mismatch_total", dimensions: [], factory: factory)
    policyRefusals = Counter(label: "ssh_refused_by_policy_total", dimensions: [], factory: factory)
  }

  /// Connections open now.
  package var openConnections: Int { counts.withLock { $0.connections } }
  /// Channels open now.
  package var openChannels: Int { counts.withLock { $0.channels } }

  func attemptBegan() {
    establishing.record(
      counts.withLock {
        $0.establishing += 1; return $0.establishing
      })
  }

  /// An attempt that began has ended.
  func attempt(result: String, phase: String) {
    establishing.record(
      counts.withLock {
        $0.establishing -= 1; return $0.establishing
      })
    switch result {
    case RemoteError.Code.hostKeyChanged.rawValue, RemoteError.Code.hostKeyRevoked.rawValue: mismatches.increment()
    case RemoteError.Code.refusedByPolicy.rawValue: policyRefusals.increment()
    default: break
    }
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
  /// How long an attempt waited for its turn before it began: see the start rates and gates of the configuration.
  package func gateWaited(_ wait: Duration) { gateWait.record(duration: wait) }

  func channelOpened(waited: UInt64) {
    channelWait.recordNanoseconds(Int64(clamping: waited))
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
