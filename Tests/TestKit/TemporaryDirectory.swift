internal import Foundation

/// A directory of its own for one test, removed with its owner.
package final class TemporaryDirectory: Sendable {
  /// The absolute path, without a trailing slash. Only this user can enter it.
  package let path: String

  package init(_ purpose: String = "test") throws {
    path = FileManager.default.temporaryDirectory.path + "/syscrap-\(purpose)-\(UUID().uuidString)"
    try FileManager.default.createDirectory(
      atPath: path, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
  }

  deinit {
    try? FileManager.default.removeItem(atPath: path)
  }

  package func file(_ name: String) -> String { path + "/" + name }

  /// Writes a file and returns its path.
  @discardableResult
  package func write(_ name: String, _ text: String, permissions: Int = 0o600) throws -> String {
    let path = file(name)
    try Data(text.utf8).write(to: URL(fileURLWithPath: path))
    try FileManager.default.setAttributes([.posixPermissions: permissions], ofItemAtPath: path)
    return path
  }
}
