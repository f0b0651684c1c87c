/// A monitored server, as its document in `targets` says.
package struct Target: Sendable, Hashable {
  /// The document's `_id`.
  package var id: String
  /// Unique; also the host, unless `host` is given.
  package var name: String
  package var host: String
  package var port: Int
  /// `nil`: the configuration's `ssh.user`.
  package var user: String?
  package var identityFile: String?
  package var passwordFile: String?
  /// argv whose output is the password.
  package var passwordCommand: [String]?
  package var usesAgent: Bool
  /// An OpenSSH certificate of the key.
  package var certificateFile: String?
  /// What carries the connection; `nil`: chosen by what the server can do.
  package var transport: Transport?
  /// An ssh_config file that the `ssh` program is to read.
  package var sshConfig: String?
  /// `SHA256:…`: the only host key that is accepted, when given.
  package var hostKeyPin: String?
  /// The name of the target to connect through.
  package var jump: String?
  package var parents: [String]
  /// Most SSH channels at once; at least 1.
  package var channels: Int
  /// What the document says of the budget, as written: see ``TouchBudget``.
  package var touch: [String: Value]
  package var labels: [String: String]
  package var isEnabled: Bool

  /// Most jump hosts in a row.
  package static let jumpLimit = 8

  /// The raw values are what documents say.
  package enum Transport: String, Sendable, Hashable, Codable, CaseIterable {
    /// The library, in this process.
    case libssh2
    /// The system's program.
    case ssh
  }

  package init(
    id: String, name: String, host: String, port: Int = 22, user: String? = nil, identityFile: String? = nil,
    passwordFile: String? = nil, passwordCommand: [String]? = nil, usesAgent: Bool = false,
    certificateFile: String? = nil, transport: Transport? = nil, sshConfig: String? = nil, hostKeyPin: String? = nil,
    jump: String? = nil, parents: [String] = [], channels: Int = 4, touch: [String: Value] = [:],
    labels: [String: String] = [:], isEnabled: Bool = true
  ) {
    self.id = id
    self.name = name
    self.host = host
    self.port = port
    self.user = user
    self.identityFile = identityFile
    self.passwordFile = passwordFile
    self.passwordCommand = passwordCommand
    self.usesAgent = usesAgent
    self.certificateFile = certificateFile
    self.transport = transport
    self.sshConfig = sshConfig
    self.hostKeyPin = hostKeyPin
    self.jump = jump
    self.parents = parents
    self.channels = channels
    self.touch = touch
    self.labels = labels
    self.isEnabled = isEnabled
  }
}

/// Which targets a document speaks of: one name, a list of names, labels, or all.
package enum TargetSelector: Sendable, Hashable {
  case generic
  case names([String])
  case labels([String: String])

  package func matches(_ target: Target) -> Bool { matches(name: target.name, labels: target.labels) }

  package func matches(name: String, labels: [String: String]) -> Bool {
    switch self {
    case .generic: true
    case .names(let names): names.contains(name)
    case .labels(let wanted): wanted.allSatisfy { labels[$0.key] == $0.value }
    }
  }

  /// Own name before selector before generic: 0, 1, 2.
  package var rank: Int {
    switch self {
    case .names: 0
    case .labels: 1
    case .generic: 2
    }
  }
}
