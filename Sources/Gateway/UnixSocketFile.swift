internal import Glibc

/// The file of a listening unix socket.
enum UnixSocketFile {
  struct Refused: Error, CustomStringConvertible {
    var description: String
  }

  /// Removes a socket that an earlier run left; a socket on which somebody listens, or anything else, is refused.
  static func prepare(_ path: String) throws {
    guard path.utf8.count < MemoryLayout.size(ofValue: sockaddr_un().sun_path) else {
      throw Refused(description: "\(path) is too long for a unix socket: choose a shorter path for http.listen")
    }
    var status = stat()
    guard lstat(path, &status) == 0 else { return }
    guard status.st_mode & S_IFMT == S_IFSOCK else {
      throw Refused(description: "\(path) is there already and is no socket: choose another path for http.listen")
    }
    guard !isAnswering(path) else {
      throw Refused(description: "another process listens at \(path): end it, or choose another path for http.listen")
    }
    unlink(path)
  }

  /// Only the owner and the group may connect.
  static func restrict(_ path: String) { chmod(path, 0o660) }

  /// Whether a process listens there. A unix socket answers at once, so this does not wait.
  private static func isAnswering(_ path: String) -> Bool {
    let descriptor = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_NONBLOCK.rawValue), 0)
    guard descriptor >= 0 else { return false }
    defer { close(descriptor) }
    var address = sockaddr_un()
    address.sun_family = sa_family_t(AF_UNIX)
    withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8) }
    let size = socklen_t(MemoryLayout<sockaddr_un>.size)
    let result = withUnsafePointer(to: &address) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { connect(descriptor, $0, size) }
    }
    // A full queue of waiting connections is also a sign of life.
    return result == 0 || errno == EAGAIN
  }
}
