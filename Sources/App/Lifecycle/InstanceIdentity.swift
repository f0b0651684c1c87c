internal import Foundation
internal import Glibc

/// In whose name this process holds leases: `<machine>/<home>/<life>`.
///
/// `home` is made once for a state folder and stays; `life` is this process's own. The folder's lock is ours, so every
/// other life of the same home has ended for certain, however it ended and however many there were: what they still
/// hold need not be waited for. That is certain for this very folder only: a copy of it gets a home of its own, on another
/// machine, beside it, or in a machine that was cloned with its name. So does the folder itself when the machine was
/// started anew, because a clone of it cannot be told from it then; what was held is waited for, as anybody's.
struct InstanceIdentity: Sendable, Hashable {
  /// `<machine>/<home>/`
  let home: String
  let owner: String

  /// - Throws: when the state folder cannot be written to.
  init(stateDirectory: String, machine: String = ProcessName.host) throws {
    let path = stateDirectory + "/instance"
    let (prefix, place) = (machine + "/", Self.place(of: stateDirectory))
    let lines = (PrivateFile.read(path) ?? "").split(separator: "\n").map(String.init)
    var home = lines.first ?? ""
    // Two names, and where that was; an older file has no place, or names the process, too.
    if !home.hasPrefix(prefix) || home.dropFirst(prefix.count).contains("/") || home.count == prefix.count
      || lines.dropFirst().first != place
    {
      home = prefix + Self.name()
      try PrivateFile.write("\(home)\n\(place)\n", to: path)
    }
    self.home = home + "/"
    owner = self.home + "\(ProcessName.pid)-\(Self.name())"
  }

  /// Whether this owner was an earlier life of the same home.
  func hasSucceeded(_ other: String) -> Bool { other.hasPrefix(home) && !isOurs(other) }

  /// Whether this owner is this process, or one of its workers.
  func isOurs(_ other: String) -> Bool { other == owner || other.hasPrefix(owner + "/") }

  /// What no copy of a folder shares with it: this start of the kernel, which no other machine has, and the folder's
  /// number in it.
  private static func place(of folder: String) -> String {
    let boot = PrivateFile.read("/proc/sys/kernel/random/boot_id") ?? "unknown"
    var status = stat()
    guard stat(folder, &status) == 0 else { return boot }
    return "\(boot) \(status.st_dev) \(status.st_ino)"
  }

  private static func name() -> String { String(UUID().uuidString.prefix(8)).lowercased() }
}
