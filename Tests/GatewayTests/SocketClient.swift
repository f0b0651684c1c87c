internal import Foundation
internal import Glibc

/// A blocking HTTP/1.1 client over a plain socket, so that a test decides about every byte. Used on threads of its own.
final class SocketClient: @unchecked Sendable {
  // Sendable is true: a client is used by one thread at a time, handed over by `onThread`, which waits for its end.
  struct Failure: Error, CustomStringConvertible { var description: String }

  struct Reply: Sendable {
    var status: Int
    /// Names in lower case; of several with one name the last.
    var headers: [String: String]
    var body: [UInt8]
    var text: String { String(decoding: body, as: UTF8.self) }
  }

  enum Place: Sendable {
    case tcp(port: Int)
    case unix(path: String)
  }

  private let descriptor: Int32
  private var pending: [UInt8] = []

  init(_ place: Place, patience: Int = 20) throws {
    var result: Int32
    switch place {
    case .tcp(let port):
      descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
      var address = sockaddr_in()
      address.sin_family = sa_family_t(AF_INET)
      address.sin_port = UInt16(port).bigEndian
      address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
      result = withUnsafePointer(to: &address) {
        $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
          connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
        }
      }
    case .unix(let path):
      descriptor = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
      var address = sockaddr_un()
      address.sun_family = sa_family_t(AF_UNIX)
      withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8) }
      result = withUnsafePointer(to: &address) {
        $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
          connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
        }
      }
    }
    guard result == 0 else {
      let code = errno
      close(descriptor)
      throw Failure(description: "connect: \(String(cString: strerror(code)))")
    }
    var limit = timeval(tv_sec: patience, tv_usec: 0)
    setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
    setsockopt(descriptor, SOL_SOCKET, SO_SNDTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
  }

  deinit { close(descriptor) }

  /// Sends a request and reads its answer.
  func ask(
    _ method: String, _ path: String, headers: [String: String] = [:], body: [UInt8]? = nil
  ) throws -> Reply {
    try send(Self.head(method, path, headers: headers, length: body?.count))
    if let body { try send(body) }
    return try reply()
  }

  static func head(_ method: String, _ path: String, headers: [String: String], length: Int? = nil) -> String {
    var all = ["Host": "localhost"].merging(headers) { $1 }
    if let length { all["Content-Length"] = "\(length)" }
    let lines = all.sorted { $0.key < $1.key }.filter { !$0.value.isEmpty }.map { "\($0.key): \($0.value)\r\n" }
    return "\(method) \(path) HTTP/1.1\r\n\(lines.joined())\r\n"
  }

  func send(_ text: String) throws { try send(Array(text.utf8)) }

  func send(_ bytes: [UInt8]) throws {
    var sent = 0
    while sent < bytes.count {
      let count = bytes.withUnsafeBytes {
        Glibc.send(descriptor, $0.baseAddress.map { $0 + sent }, bytes.count - sent, Int32(MSG_NOSIGNAL))
      }
      guard count > 0 else { throw Failure(description: "send: \(String(cString: strerror(errno)))") }
      sent += count
    }
  }

  /// Reads one whole answer; of a stream only the head, as it has no end.
  func reply(toHead: Bool = false) throws -> Reply {
    var reply = try replyHead()
    if toHead || reply.headers["content-type"] == "text/event-stream" { return reply }
    if let length = reply.headers["content-length"].flatMap({ Int($0) }) {
      reply.body = try take(length)
    } else if reply.headers["transfer-encoding"] == "chunked" {
      while true {
        guard let size = Int(try line(), radix: 16) else { throw Failure(description: "no chunk size") }
        reply.body += try take(size)
        _ = try line()
        if size == 0 { break }
      }
    }
    return reply
  }

  func replyHead() throws -> Reply {
    let parts = try line().split(separator: " ")
    guard parts.count >= 2, let status = Int(parts[1]) else { throw Failure(description: "no status line: \(parts)") }
    var reply = Reply(status: status, headers: [:], body: [])
    while true {
      let header = try line()
      if header.isEmpty { return reply }
      let pair = header.split(separator: ":", maxSplits: 1)
      guard pair.count == 2 else { throw Failure(description: "no header: \(header)") }
      reply.headers[pair[0].lowercased()] = pair[1].trimmingCharacters(in: .whitespaces)
    }
  }

  /// The next line without its end.
  func line() throws -> String {
    while true {
      if let end = pending.firstIndex(of: 10) {
        let line = pending[..<end].filter { $0 != 13 }
        pending.removeFirst(end + 1)
        return String(decoding: line, as: UTF8.self)
      }
      guard try fill() else { throw Failure(description: "the connection ended within a line") }
    }
  }

  func take(_ count: Int) throws -> [UInt8] {
    while pending.count < count {
      guard try fill() else { throw Failure(description: "the connection ended after \(pending.count) of \(count)") }
    }
    defer { pending.removeFirst(count) }
    return Array(pending.prefix(count))
  }

  /// Waits until the other side has closed; what it still sends is thrown away.
  func waitForEnd() throws {
    while try fill() { pending = [] }
  }

  /// Waits until the other side has closed although this one reads nothing: the kernel's list of sockets tells.
  func waitForEndWithoutReading(port: Int) throws {
    var address = sockaddr_in()
    var size = socklen_t(MemoryLayout<sockaddr_in>.size)
    withUnsafeMutablePointer(to: &address) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { _ = getsockname(descriptor, $0, &size) }
    }
    let pair = [port, Int(UInt16(bigEndian: address.sin_port))].map { String(format: "0100007F:%04X", $0) }
    for _ in 0..<2000 {
      // Files of the kernel have no size that could be read in one go.
      let table = try FileHandle(forReadingAtPath: "/proc/net/tcp")?.readToEnd() ?? Data()
      let list = String(decoding: table, as: UTF8.self)
      guard list.contains(pair[0]) else { throw Failure(description: "the kernel's list does not show the connection") }
      let isOpen = list.split(separator: "\n").contains { line in
        let fields = line.split(separator: " ")
        return fields.count > 3 && fields[1] == pair[0] && fields[2] == pair[1] && fields[3] == "01"
      }
      if !isOpen { return }
      usleep(10_000)
    }
    throw Failure(description: "the other side is still open")
  }

  func endSending() { shutdown(descriptor, Int32(SHUT_WR)) }

  /// False at the end; a connection that was reset has ended as well.
  private func fill() throws -> Bool {
    var buffer = [UInt8](repeating: 0, count: 1 << 16)
    let count = recv(descriptor, &buffer, buffer.count, 0)
    if count < 0, errno == EAGAIN { throw Failure(description: "nothing came for too long") }
    if count < 0, errno != ECONNRESET { throw Failure(description: "recv: \(String(cString: strerror(errno)))") }
    if count > 0 { pending += buffer.prefix(count) }
    return count > 0
  }
}

/// Runs blocking work on a thread of its own.
func onThread<Result: Sendable>(_ work: @escaping @Sendable () throws -> Result) async throws -> Result {
  try await withCheckedThrowingContinuation { continuation in
    Thread { continuation.resume(with: Swift.Result { try work() }) }.start()
  }
}
