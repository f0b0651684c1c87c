internal import FoundationEssentials
internal import CSSH2
internal import Glibc
internal import Remote

/// The private folder of one connection: the known_hosts file that its ssh goes by, and the socket of its master.
struct ControlFolder: Sendable {
  /// ssh appends a dot and 16 letters to the socket's path while it makes it, and a socket's path has at most 107 bytes.
  private static let longest = 107 - 17 - "/master".utf8.count

  let path: String
  var socket: String { path + "/master" }
  var knownHosts: String { path + "/known_hosts" }

  /// Makes the folder (mode 0700) and the file (0600). Blocks.
  ///
  /// - Parameters:
  ///   - places: where it may be, best first: the first that can be used is taken.
  ///   - lines: of the known_hosts file, without their ends.
  init(in places: [String], lines: [String]) throws(RemoteError) {
    var reason = "no place for it is configured"
    for place in places where place.hasPrefix("/") {
      var template = Array("\(place)/syscrap-ssh-XXXXXX".utf8CString)
      guard template.count - 1 <= Self.longest else {
        reason = "\(place) is too long for a socket's path"
        continue
      }
      guard template.withUnsafeMutableBufferPointer({ $0.baseAddress.flatMap { mkdtemp($0) } }) != nil else {
        reason = "\(place): \(String(cString: strerror(errno)))"
        continue
      }
      path = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
      do throws(RemoteError) {
        try write(lines)
        return
      } catch {
        remove()
        throw error
      }
    }
    throw RemoteError(.unreachable, phase: .connect, "No private folder for ssh can be made: \(reason).")
  }

  private func write(_ lines: [String]) throws(RemoteError) {
    let descriptor = open(knownHosts, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0o600)
    var isWhole = descriptor >= 0
    if descriptor >= 0 {
      var rest = Array(lines.map { $0 + "\n" }.joined().utf8)[...]
      while isWhole, !rest.isEmpty {
        let count = rest.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
        if count < 0 && errno == EINTR { continue }
        isWhole = count > 0
        if count > 0 { rest = rest.dropFirst(count) }
      }
      close(descriptor)
    }
    guard isWhole else {
      throw RemoteError(
        .unreachable, phase: .connect, "\(knownHosts) cannot be written: \(String(cString: strerror(errno))).")
    }
  }

  /// Takes the folder away with what ssh left in it. Its files are known by name; a few system calls.
  func remove() {
    unlink(socket)
    unlink(knownHosts)
    rmdir(path)
  }
}
