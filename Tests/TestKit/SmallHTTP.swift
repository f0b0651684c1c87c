internal import Foundation
internal import Glibc

/// One HTTP request on a connection of its own to a loopback port, with nothing between the test and the bytes.
package enum SmallHTTP {
  package struct Reply: Sendable {
    package var status: Int
    /// Names in lower case.
    package var headers: [String: String]
    package var body: [UInt8]

    package var text: String { String(decoding: body, as: UTF8.self) }
  }

  /// - Parameter token: sent as a bearer token.
  package static func perform(
    _ method: String, _ path: String, port: UInt16, token: String? = nil, headers: [String: String] = [:],
    body: [UInt8] = [], within deadline: Duration = .seconds(30)
  ) async throws -> Reply {
    // A thread of its own: blocking calls have no place in the cooperative pool.
    let reply: Result<Reply, ManagedProcessError> = await withCheckedContinuation { continuation in
      Thread.detachNewThread {
        continuation.resume(
          returning: Result { () throws(ManagedProcessError) in
            try performBlocking(
              method, path, port: port, token: token, headers: headers, body: body, within: deadline)
          })
      }
    }
    return try reply.get()
  }

  /// As ``perform(_:_:port:token:headers:body:within:)``, for a thread that may wait.
  package static func performBlocking(
    _ method: String, _ path: String, port: UInt16, token: String? = nil, headers: [String: String] = [:],
    body: [UInt8] = [], within deadline: Duration = .seconds(30)
  ) throws(ManagedProcessError) -> Reply {
    var head = "\(method) \(path) HTTP/1.1\r\nHost: 127.0.0.1:\(port)\r\nConnection: close\r\n"
    if let token { head += "Authorization: Bearer \(token)\r\n" }
    if !body.isEmpty || method != "GET" {
      head += "Content-Type: application/json\r\nContent-Length: \(body.count)\r\n"
    }
    for (name, value) in headers { head += "\(name): \(value)\r\n" }
    let request = Array((head + "\r\n").utf8) + body
    let bytes = try exchange(request, port: port, seconds: max(1, Int(deadline.components.seconds)))
    return try parse(bytes)
  }

  private static func exchange(
    _ request: [UInt8], port: UInt16, seconds: Int
  ) throws(ManagedProcessError) -> [UInt8] {
    let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | O_CLOEXEC, 0)
    guard descriptor >= 0 else { throw ManagedProcessError("no socket: errno \(errno)") }
    defer { close(descriptor) }
    var limit = timeval(tv_sec: seconds, tv_usec: 0)
    for option in [SO_RCVTIMEO, SO_SNDTIMEO] {
      setsockopt(descriptor, SOL_SOCKET, option, &limit, socklen_t(MemoryLayout<timeval>.size))
    }
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_port = port.bigEndian
    address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
    let connected = withUnsafePointer(to: &address) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size)) == 0
      }
    }
    guard connected else { throw ManagedProcessError("nothing listens on port \(port): errno \(errno)") }
    var rest = request[...]
    while !rest.isEmpty {
      let count = rest.withUnsafeBytes { send(descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL)) }
      guard count > 0 else { throw ManagedProcessError("the request could not be sent: errno \(errno)") }
      rest = rest.dropFirst(count)
    }
    var answer: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 65_536)
    while true {
      let count = recv(descriptor, &buffer, buffer.count, 0)
      if count == 0 { return answer }
      if count < 0 {
        if errno == EINTR { continue }
        throw ManagedProcessError("no answer: errno \(errno)")
      }
      answer += buffer[..<count]
    }
  }

  private static func parse(_ bytes: [UInt8]) throws(ManagedProcessError) -> Reply {
    let mark: [UInt8] = [13, 10, 13, 10]
    guard let end = bytes.indices.first(where: { bytes[$0...].starts(with: mark) }) else {
      throw ManagedProcessError("no HTTP answer in \(bytes.count) bytes")
    }
    let lines = String(decoding: bytes[..<end], as: UTF8.self).components(separatedBy: "\r\n")
    let words = lines[0].split(separator: " ")
    guard words.count > 1, let status = Int(words[1]) else { throw ManagedProcessError("no status in \(lines[0])") }
    var headers: [String: String] = [:]
    for line in lines.dropFirst() {
      let parts = line.split(separator: ":", maxSplits: 1)
      if parts.count == 2 { headers[parts[0].lowercased()] = parts[1].trimmingCharacters(in: .whitespaces) }
    }
    var body = Array(bytes[(end + mark.count)...])
    if headers["transfer-encoding"]?.lowercased() == "chunked" { body = try unchunked(body) }
    if let length = headers["content-length"].flatMap({ Int($0) }), length != body.count {
      throw ManagedProcessError("the answer has \(body.count) of \(length) bytes")
    }
    return Reply(status: status, headers: headers, body: body)
  }

  private static func unchunked(_ bytes: [UInt8]) throws(ManagedProcessError) -> [UInt8] {
    var result: [UInt8] = []
    var rest = bytes[...]
    while let end = rest.firstIndex(of: 13) {
      let size = String(decoding: rest[..<end], as: UTF8.self).split(separator: ";").first.flatMap {
        Int($0.trimmingCharacters(in: .whitespaces), radix: 16)
      }
      guard let size, rest.distance(from: end, to: rest.endIndex) >= size + 2 else { break }
      if size == 0 { return result }
      result += rest[(end + 2)..<(end + 2 + size)]
      rest = rest.dropFirst(end + 2 + size + 2 - rest.startIndex)
    }
    throw ManagedProcessError("a torn chunked answer")
  }
}
