internal import CSSH2
internal import Glibc

/// The system calls of a connection's socket.
enum TCPSocket {
  /// One address to try, copied out of what the system's lookup returned.
  struct Address: Sendable {
    var family: Int32
    var bytes: [UInt8]
    /// The numeric form, for people.
    var text: String
  }

  /// Looks a name up. Blocks for as long as the name servers take.
  /// - Returns: at most 8 addresses, or the system's words for what went wrong.
  static func resolve(_ host: String, port: Int, numericOnly: Bool) -> Result<[Address], LookupError> {
    var hints = addrinfo()
    hints.ai_family = AF_UNSPEC
    hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
    hints.ai_flags = (numericOnly ? AI_NUMERICHOST : AI_ADDRCONFIG) | AI_NUMERICSERV
    var list: UnsafeMutablePointer<addrinfo>?
    let code = getaddrinfo(host, String(port), &hints, &list)
    guard code == 0 else { return .failure(LookupError(message: String(cString: gai_strerror(code)))) }
    defer { freeaddrinfo(list) }
    var result: [Address] = []
    var next = list
    while let entry = next?.pointee, result.count < 8 {
      if let address = entry.ai_addr {
        var name = [CChar](repeating: 0, count: Int(NI_MAXHOST))
        getnameinfo(address, entry.ai_addrlen, &name, socklen_t(name.count), nil, 0, NI_NUMERICHOST)
        let bytes = Array(UnsafeRawBufferPointer(start: address, count: Int(entry.ai_addrlen)))
        let text = String(decoding: name.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
        if !result.contains(where: { $0.bytes == bytes }) {
          result.append(Address(family: entry.ai_family, bytes: bytes, text: text))
        }
      }
      next = entry.ai_next
    }
    return result.isEmpty ? .failure(LookupError(message: "the name has no address")) : .success(result)
  }

  struct LookupError: Error { var message: String }

  /// A non-blocking socket on its way to the address, or an errno.
  static func connecting(to address: Address, _ configuration: SSHConfiguration) -> Result<Int32, ErrorNumber> {
    let descriptor = socket(
      address.family, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_NONBLOCK.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
    guard descriptor >= 0 else { return .failure(ErrorNumber(code: errno)) }
    guard !isReserved(descriptor) else {
      close(descriptor)
      return .failure(ErrorNumber(code: EMFILE))
    }
    let tcp = Int32(IPPROTO_TCP)
    set(descriptor, tcp, TCP_NODELAY, 1)
    set(descriptor, SOL_SOCKET, SO_KEEPALIVE, 1)
    set(descriptor, tcp, TCP_KEEPIDLE, configuration.tcpKeepAliveIdle_s)
    set(descriptor, tcp, TCP_KEEPINTVL, configuration.tcpKeepAliveInterval_s)
    set(descriptor, tcp, TCP_KEEPCNT, configuration.tcpKeepAliveCount)
    set(descriptor, tcp, TCP_USER_TIMEOUT, Int32(clamping: configuration.userTimeout.nanoseconds / 1_000_000))
    if let size = configuration.sendBuffer { set(descriptor, SOL_SOCKET, SO_SNDBUF, size) }
    let code = address.bytes.withUnsafeBytes { bytes -> Int32 in
      guard let base = bytes.baseAddress else { return -1 }
      return connect(descriptor, base.assumingMemoryBound(to: sockaddr.self), socklen_t(bytes.count))
    }
    if code == 0 || errno == EINPROGRESS { return .success(descriptor) }
    let number = errno
    close(descriptor)
    return .failure(ErrorNumber(code: number))
  }

  /// File descriptors that targets leave to the store, the queue and HTTP.
  static let reserve: UInt64 = 32

  /// Whether a socket has one of the last numbers that the process may use (RLIMIT_NOFILE).
  ///
  /// The system always gives the lowest number that is free, so as long as no target has one of the last, others can
  /// have them. The limit is asked for each time: it may be raised while we run.
  static func isReserved(_ descriptor: Int32) -> Bool {
    var limit = rlimit()
    guard getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else { return false }
    return UInt64(descriptor) + reserve >= UInt64(limit.rlim_cur)
  }

  struct ErrorNumber: Error {
    var code: Int32
    var text: String { String(cString: strerror(code)) }
  }

  /// The socket's own error, which asking clears; `nil` when there is none.
  static func pendingError(_ descriptor: Int32) -> Int32? {
    guard descriptor >= 0 else { return nil }
    var code: Int32 = 0
    var length = socklen_t(MemoryLayout<Int32>.size)
    guard getsockopt(descriptor, SOL_SOCKET, SO_ERROR, &code, &length) == 0 else { return nil }
    return code == 0 ? nil : code
  }

  /// Bytes that the peer has not acknowledged or that were not sent yet.
  static func unsent(_ descriptor: Int32) -> Int32 {
    var count: Int32 = 0
    return ioctl(descriptor, UInt(TIOCOUTQ), &count) == 0 ? count : 0
  }

  /// Whether a connection is made.
  static func isConnected(_ descriptor: Int32) -> Bool {
    var address = sockaddr_storage()
    var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
    return withUnsafeMutablePointer(to: &address) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { getpeername(descriptor, $0, &length) == 0 }
    }
  }

  /// The kernel's smoothed round-trip time in milliseconds.
  static func roundTrip(_ descriptor: Int32) -> Double? {
    var information = tcp_info()
    var length = socklen_t(MemoryLayout<tcp_info>.size)
    guard getsockopt(descriptor, Int32(IPPROTO_TCP), TCP_INFO, &information, &length) == 0, information.tcpi_rtt > 0
    else { return nil }
    return Double(information.tcpi_rtt) / 1000
  }

  private static func set(_ descriptor: Int32, _ level: Int32, _ name: Int32, _ value: Int32) {
    var value = value
    setsockopt(descriptor, level, name, &value, socklen_t(MemoryLayout<Int32>.size))
  }
}
