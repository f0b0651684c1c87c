internal import Aggregation
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
  /// The document of a target by its name, also of one that is switched off; nil: none counts.
  let target: @Sendable (String) -> Target?

  func connector(for target: Target) -> any Connector {
    do throws(RemoteError) {
      let library = try library(for: target, behind: [])
      // Behind a jump host there is the library only.
      if target.jump != nil || target.transport == .libssh2 { return library }
      let client = SystemSSHConnector(
        host: library.endpoint.host, port: library.endpoint.port, user: library.endpoint.user,
        credentials: library.credentials, certificateFile: target.certificateFile, configurationFile: target.sshConfig,
        hostKeys: library.hostKeys, channels: target.channels, group: group, metrics: metrics,
        touch: touch.account(of: target.name), logger: logger)
      if Self.needsSystemClient(target) { return client }
      return AutomaticConnector(first: library, second: client, logger: logger)
    } catch {
      return RefusingConnector(error: error)
    }
  }

  /// Equal as long as connections to the target may be kept: what it is, and what the jump hosts before it are.
  func digest(_ target: Target) -> String {
    var digest = target.connectionDigest
    var jump = target.jump
    for _ in 0..<Target.jumpLimit {
      guard let name = jump else { break }
      let host = self.target(name)
      digest += " through \(host?.connectionDigest ?? "nothing")"
      jump = host?.jump
    }
    return digest
  }

  /// - Parameter behind: the names of those that are reached through this target, the last first.
  /// - Throws: why there can be no connection, whoever is asked.
  private func library(for target: Target, behind: [String]) throws(RemoteError) -> SSHConnector {
    if !behind.isEmpty, Self.needsSystemClient(target) {
      throw RemoteError(
        .noCredential, phase: .connect,
        "the jump host \(target.name) is reached by the system's ssh, which cannot carry others: "
          + "put ProxyJump into an ssh_config file instead")
    }
    if let reason = Self.unsupported(target) {
      let whose = behind.isEmpty ? "" : "the jump host \(target.name): "
      throw RemoteError(.noCredential, phase: .connect, whose + reason)
    }
    var jump: JumpHost?
    if let name = target.jump {
      let chain = [target.name] + behind
      // The check of the documents refuses these; a document that lost its jump host since is met here.
      guard !chain.contains(name) else {
        let circle = ([name] + chain.prefix { $0 != name } + [name]).joined(separator: " → ")
        throw RemoteError(.noCredential, phase: .connect, "the jump hosts form a circle: \(circle)")
      }
      guard chain.count <= Target.jumpLimit else {
        throw RemoteError(
          .noCredential, phase: .connect,
          "there are more than \(Target.jumpLimit) jump hosts before \(chain.last ?? name)")
      }
      guard let host = self.target(name) else {
        throw RemoteError(
          .noCredential, phase: .connect,
          "the jump host \(name) of \(target.name) is no target, or its document is refused: see syscrap get problems")
      }
      jump = JumpHost(name: name, key: "\(name) \(digest(host))", connector: try library(for: host, behind: chain))
    }
    return SSHConnector(
      host: target.host, port: target.port, user: target.user ?? configuration.user,
      credentials: credentials(target), hostKeys: hostKeys(target), channels: target.channels, jump: jump, group: group,
      metrics: metrics, touch: touch.account(of: target.name), logger: logger)
  }

  /// What a document may ask for and this version cannot do yet.
  static func unsupported(_ target: Target) -> String? {
    guard target.jump != nil, needsSystemClient(target) else { return nil }
    return "jump goes over libssh2, which transport: ssh, certificate_file and ssh_config do not use: "
      + "put ProxyJump into the ssh_config file instead"
  }

  private static func needsSystemClient(_ target: Target) -> Bool {
    target.transport == .ssh || target.certificateFile != nil || target.sshConfig != nil
  }

  private func hostKeys(_ target: Target) -> HostKeyPolicy {
    HostKeyPolicy(
      mode: configuration.hostKeyPolicy == .strict ? .strict : .accept_new, knownHosts: configuration.knownHosts,
      pin: target.hostKeyPin, target: target.name, pool: pool)
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

extension ConnectGate.Limits {
  init(_ configuration: Configuration.SSH.Connect) {
    self.init(
      handshakes: configuration.handshakes, perSecond: configuration.perSecond,
      totalPerSecond: configuration.totalPerSecond)
  }
}

/// A connector that says why it cannot connect: the target is shown with the reason, and nothing else is held up.
private struct RefusingConnector: Connector {
  let error: RemoteError
  func connect() async throws(RemoteError) -> any Remote { throw error }
}
