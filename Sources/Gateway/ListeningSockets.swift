internal import Glibc

/// The listening sockets of this process.
enum ListeningSockets {
  /// Keeps programs that this process starts from inheriting them: the port would stay taken until those have ended.
  /// SwiftNIO opens its sockets without that mark.
  static func closeOnExec() {
    guard let folder = opendir("/proc/self/fd") else { return }
    defer { closedir(folder) }
    while let entry = readdir(folder) {
      let name = withUnsafeBytes(of: entry.pointee.d_name) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
      guard let descriptor = Int32(name) else { continue }
      var isListening: Int32 = 0
      var size = socklen_t(MemoryLayout<Int32>.size)
      guard getsockopt(descriptor, SOL_SOCKET, SO_ACCEPTCONN, &isListening, &size) == 0, isListening != 0 else {
        continue
      }
      _ = fcntl(descriptor, F_SETFD, FD_CLOEXEC)
    }
  }
}
