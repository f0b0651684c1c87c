internal import Foundation

/// In whose name this process holds leases: `<machine>/<home>/<life>`.
///
/// `home` is made once for a state folder and stays; `life` is this process's own. The folder's lock is ours, so every
/// other life of the same home has ended for certain, however it ended and however many there were: what they still
/// hold need not be waited for. A folder that was copied to another machine gets a home of its own there.
struct InstanceIdentity: Sendable, Hashable {
  /// `<machine>/<home>/`
  let home: String
  let owner: String

  /// - Throws: when the state folder cannot be written to.
  init(stateDirectory: String, machine: String = ProcessName.host) throws {
    let path = stateDirectory + "/instance"
    let prefix = machine + "/"
    var home = PrivateFile.read(path) ?? ""
    // Two names and nothing else: an older file named the process, too.
    if !home.hasPrefix(prefix) || home.dropFirst(prefix.count).contains("/") || home.count == prefix.count {
      home = prefix + Self.name()
      try PrivateFile.write(home + "\n", to: path)
    }
    self.home = home + "/"
    owner = self.home + "\(ProcessName.pid)-\(Self.name())"
  }

  /// Whether this owner was an earlier life of the same home.
  func hasSucceeded(_ other: String) -> Bool { other.hasPrefix(home) && !isOurs(other) }

  /// Whether this owner is this process, or one of its workers.
  func isOurs(_ other: String) -> Bool { other == owner || other.hasPrefix(owner + "/") }

  private static func name() -> String { String(UUID().uuidString.prefix(8)).lowercased() }
}
