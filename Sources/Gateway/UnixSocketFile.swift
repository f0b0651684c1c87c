internal import Glibc

/// The file of a listening unix socket.
enum UnixSocketFile {
  struct Refused: Error, CustomStringConvertible {
    var description: String
  }

  /// Removes a socket that an earlier run left; anything else at that path is refused.
  static func prepare(_ path: String) throws {
    var status = stat()
    guard lstat(path, &status) == 0 else { return }
    guard status.st_mode & S_IFMT == S_IFSOCK else {
      throw Refused(description: "\(path) is there already and is no socket: choose another path for http.listen")
    }
    unlink(path)
  }

  /// Only the owner and the group may connect.
  static func restrict(_ path: String) { chmod(path, 0o660) }
}
