internal import CSSH2
internal import Glibc
internal import Remote
internal import Threads

/// Private keys that were read and parsed, so that a thousand connections with one key parse it once.
///
/// An entry counts as long as the file's inode, size and times are those of its reading. Holds at most 256 keys.
final class KeyStore: Sendable {
  /// A key ready to log in with.
  enum Key: Sendable {
    case signing(SigningKey)
    /// What only the library can read: encrypted, PEM, RSA.
    case file([UInt8], passphrase: [UInt8]?)
  }

  private struct Stamp: Sendable, Hashable {
    var inode: UInt64
    var size: Int
    var seconds: Int
    var nanoseconds: Int
  }

  private let entries = Locked<[String: (stamp: Stamp, key: Key)]>([:])

  /// Reads a key. Blocks: file access, and the passphrase's program (10 s at most).
  /// - Returns: the key, or why there is none, in a person's words.
  func load(_ path: String, passphraseCommand: [String]?) -> Result<Key, RemoteError> {
    do throws(RemoteError) {
      let (stamp, bytes) = try read(path)
      if let entry = entries.withLock({ $0[path] }), entry.stamp == stamp { return .success(entry.key) }
      guard let bytes = try bytes() else { throw Self.failure("\(path) cannot be read.") }
      let key: Key
      if let signing = SigningKey(openSSH: bytes) {
        key = .signing(signing)
      } else if let passphraseCommand {
        key = .file(bytes, passphrase: try LocalCommand.firstLine(passphraseCommand))
      } else {
        key = .file(bytes, passphrase: nil)
      }
      entries.withLock { entries in
        if entries.count >= 256 { entries = [:] }
        entries[path] = (stamp, key)
      }
      return .success(key)
    } catch {
      return .failure(error)
    }
  }

  /// Opens the file and checks who may read it; the content is read on demand.
  private func read(_ path: String) throws(RemoteError) -> (Stamp, () throws(RemoteError) -> [UInt8]?) {
    var status = stat()
    guard stat(path, &status) == 0 else {
      throw Self.failure("The private key \(path) cannot be read: \(String(cString: strerror(errno))).")
    }
    guard status.st_mode & S_IFMT == S_IFREG else { throw Self.failure("\(path) is not a file.") }
    guard status.st_mode & 0o077 == 0 else {
      let mode = String(status.st_mode & 0o777, radix: 8)
      throw Self.failure(
        "The private key \(path) has mode 0\(mode): others may read it. Make it 0600 (chmod 600 \(path)).")
    }
    guard status.st_size <= 64 << 10 else { throw Self.failure("\(path) is too large for a private key.") }
    let stamp = Stamp(
      inode: UInt64(status.st_ino), size: Int(status.st_size), seconds: status.st_mtim.tv_sec,
      nanoseconds: status.st_mtim.tv_nsec)
    return (
      stamp,
      { () throws(RemoteError) -> [UInt8]? in
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else {
          throw Self.failure("The private key \(path) cannot be read: \(String(cString: strerror(errno))).")
        }
        defer { close(descriptor) }
        var bytes = [UInt8](repeating: 0, count: 64 << 10)
        let count = Glibc.read(descriptor, &bytes, bytes.count)
        return count < 0 ? nil : Array(bytes.prefix(count))
      }
    )
  }

  static func failure(_ message: String) -> RemoteError {
    RemoteError(.noCredential, phase: .authenticate, message)
  }
}
