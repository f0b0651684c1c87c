internal import CSSH2
internal import Glibc
internal import Remote

/// Speaks to an ssh-agent (draft-ietf-sshm-ssh-agent): lists its keys and has it sign. Every call blocks, for at most
/// the time given, and belongs on a thread that may.
struct KeyAgent: Sendable {
  let path: String
  /// For each read and write.
  let timeout_s: Int

  struct Identity: Sendable {
    var blob: [UInt8]
    var type: String
  }

  /// The keys we can use: Ed25519 and ECDSA.
  func identities() throws(RemoteError) -> [Identity] {
    let reply = try request([11])
    guard reply.first == 12, reply.count >= 5 else { throw failure("gave no list of keys") }
    let count = reply[1..<5].reduce(0) { $0 << 8 | Int($1) }
    var reader = WireReader(Array(reply.dropFirst(5)))
    var result: [Identity] = []
    for _ in 0..<min(count, 256) {
      guard let blob = reader.string(), reader.string() != nil else { break }
      guard let key = HostKey(blob: Array(blob)) else { continue }
      if key.type == "ssh-ed25519" || key.type.hasPrefix("ecdsa-sha2-nistp") {
        result.append(Identity(blob: Array(blob), type: key.type))
      }
    }
    return result
  }

  /// The inner signature over `data`, without the algorithm's name.
  func sign(_ data: [UInt8], with blob: [UInt8]) throws(RemoteError) -> [UInt8] {
    let reply = try request([13] + WireWriter.string(blob) + WireWriter.string(data) + [0, 0, 0, 0])
    guard reply.first == 14 else { throw failure("refused to sign") }
    var outer = WireReader(Array(reply.dropFirst()))
    guard let signature = outer.string() else { throw failure("sent a signature that cannot be read") }
    var inner = WireReader(Array(signature))
    guard inner.string() != nil, let bytes = inner.string() else {
      throw failure("sent a signature that cannot be read")
    }
    return Array(bytes)
  }

  private func request(_ message: [UInt8]) throws(RemoteError) -> [UInt8] {
    let descriptor = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
    guard descriptor >= 0 else { throw failure("cannot be reached: errno \(errno)") }
    defer { close(descriptor) }
    var limit = timeval(tv_sec: timeout_s, tv_usec: 0)
    setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
    setsockopt(descriptor, SOL_SOCKET, SO_SNDTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
    var address = sockaddr_un()
    address.sun_family = sa_family_t(AF_UNIX)
    let name = Array(path.utf8)
    guard name.count < MemoryLayout.size(ofValue: address.sun_path) else { throw failure("has too long a path") }
    withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: name) }
    let code = withUnsafePointer(to: &address) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
      }
    }
    guard code == 0 else { throw failure("cannot be reached: \(String(cString: strerror(errno)))") }
    try write(WireWriter.string(message), to: descriptor)
    let header = try read(4, from: descriptor)
    let length = header.reduce(0) { $0 << 8 | Int($1) }
    guard length > 0, length <= 256 << 10 else { throw failure("sent a reply of \(length) bytes") }
    return try read(length, from: descriptor)
  }

  private func write(_ bytes: [UInt8], to descriptor: Int32) throws(RemoteError) {
    var offset = 0
    while offset < bytes.count {
      let count = bytes.withUnsafeBytes { buffer -> Int in
        guard let base = buffer.baseAddress else { return -1 }
        return send(descriptor, base.advanced(by: offset), buffer.count - offset, Int32(MSG_NOSIGNAL))
      }
      if count < 0 && errno == EINTR { continue }
      guard count > 0 else { throw failure("does not take our request") }
      offset += count
    }
  }

  private func read(_ count: Int, from descriptor: Int32) throws(RemoteError) -> [UInt8] {
    var result: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: min(count, 16 << 10))
    while result.count < count {
      let got = Glibc.read(descriptor, &buffer, min(buffer.count, count - result.count))
      if got < 0 && errno == EINTR { continue }
      guard got > 0 else { throw failure("does not answer") }
      result += buffer.prefix(got)
    }
    return result
  }

  private func failure(_ what: String) -> RemoteError {
    RemoteError(.noCredential, phase: .authenticate, "The ssh-agent at \(path) \(what).")
  }
}
