internal import Logging
internal import Model
internal import Notifications
internal import Remote
internal import SSH
internal import Threads
internal import Transfer

/// Makes a target's connector from its document and the configuration's defaults.
struct Connectors: Sendable {
  let configuration: Configuration.SSH
  let group: EventLoopGroup
  let metrics: SSHMetrics
  let logger: Logger
  /// Where what touches each target is counted.
  var touch = TouchLedger()
  /// Where known_hosts files are read; nil: the system's queue.
  let pool: BlockingPool?

  func connector(for target: Target) -> any Connector {
    if let reason = Self.unsupported(target) {
      return RefusingConnector(error: RemoteError(.noCredential, phase: .connect, reason))
    }
    return SSHConnector(
      host: target.host, port: target.port, user: target.user ?? configuration.user,
      credentials: credentials(target),
      hostKeys: HostKeyPolicy(
        mode: configuration.hostKeyPolicy == .strict ? .strict : .accept_new, knownHosts: configuration.knownHosts,
        pin: target.hostKeyPin, target: target.name, pool: pool),
      channels: target.channels, group: group, metrics: metrics, touch: touch.account(of: target.name), logger: logger)
  }

  /// What a document may ask for and this version cannot do yet.
  static func unsupported(_ target: Target) -> String? {
    if target.jump != nil {
      return "jump hosts are not available in this version: give the target an address of its own"
    }
    if target.certificateFile != nil {
      return "certificates are not available in this version: use identity_file or agent alone"
    }
    return nil
  }

  /// What the target's document names, else the configuration's keys.
  private func credentials(_ target: Target) -> [Credential] {
    var credentials: [Credential] = []
    if let file = target.identityFile { credentials.append(.keyFile(file)) }
    if target.usesAgent { credentials.append(.agent()) }
    if let file = target.passwordFile {
      credentials.append(.password { try await SecretReader().read(.file(file)).reveal() })
    } else if let command = target.passwordCommand {
      credentials.append(.password { try await SecretReader().read(.command(command)).reveal() })
    }
    return credentials.isEmpty ? configuration.identityFiles.map { .keyFile($0) } : credentials
  }
}

/// A connector that says why it cannot connect: the target is shown with the reason, and nothing else is held up.
private struct RefusingConnector: Connector {
  let error: RemoteError
  func connect() async throws(RemoteError) -> any Remote { throw error }
}
