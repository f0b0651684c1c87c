internal import Remote

/// What the master says on stderr, taken apart line by line: how far it has come, whom it met, why it ended.
///
/// It speaks at the first level of debugging. A server's own words can appear among the lines; so nothing here decides
/// about trust, the client's own check against its known_hosts file does.
struct MasterLog {
  enum Event: Equatable {
    case phase(RemoteError.Phase)
    /// The key that the host shows, before anything is sent to log in.
    case hostKey(HostKey)
    /// Logged in, and the master's socket is there.
    case ready
  }

  /// Longest line that is looked at whole; more of it is dropped.
  private static let lineLimit = 16 << 10
  /// Most bytes kept of what is not for debugging.
  static let tailLimit = 4 << 10

  let nonce: String
  private var line: [UInt8] = []
  /// The latest lines that are not for debugging, at most ``tailLimit`` bytes.
  private(set) var tail = ""
  private(set) var facts = ConnectionFacts(transport: "ssh")
  /// Keys that were offered to the server.
  private(set) var offeredCount = 0
  /// A server that turns us away says so in the banner's place, which is shown for debugging only.
  private(set) var refusal: String?

  init(nonce: String) { self.nonce = nonce }

  mutating func add(_ bytes: UnsafeRawBufferPointer) -> [Event] {
    var events: [Event] = []
    for byte in bytes {
      if byte == UInt8(ascii: "\n") {
        let text = String(decoding: line, as: UTF8.self)
        line.removeAll(keepingCapacity: true)
        events += read(text[...].prefix { $0 != "\r" && $0 != "\r\n" })
      } else if line.count < Self.lineLimit {
        line.append(byte)
      }
    }
    return events
  }

  private mutating func read(_ line: Substring) -> [Event] {
    if line.hasPrefix(nonce) {
      let words = line.split(separator: " ")
      guard words.count == 4, words[1] == "HOSTNAME", let blob = Base64.decode(words[3].utf8),
        let key = HostKey(blob: blob)
      else { return [] }
      return [.hostKey(key)]
    }
    if line.hasPrefix("debug1: ") { return debug(line.dropFirst(8)) }
    if line.hasPrefix("debug") || line.hasPrefix("OpenSSH_") { return [] }
    if line.hasPrefix("Authenticated to ") {
      if let method = line.split(separator: "\"").dropFirst().first, facts.authentication.isEmpty {
        facts.authentication = String(method)
      }
      return []
    }
    tail += line + "\n"
    while tail.utf8.count > Self.tailLimit, let end = tail.firstIndex(of: "\n") {
      tail.removeSubrange(...end)
    }
    return []
  }

  private mutating func debug(_ text: Substring) -> [Event] {
    let words = text.split(separator: " ")
    func after(_ mark: String) -> String? {
      words.firstIndex { $0 == mark }.flatMap { words.dropFirst($0 + 1).first }.map(String.init)
    }
    if text.hasPrefix("Connecting to ") {
      if let open = text.firstIndex(of: "["), let close = text.lastIndex(of: "]"), open < close {
        facts.address = String(text[text.index(after: open)..<close])
      }
      return [.phase(.connect)]
    }
    if text.hasPrefix("Connection established.") { return [.phase(.banner)] }
    if text.hasPrefix("Remote protocol version ") {
      facts.serverBanner = "SSH-2.0-" + words.dropFirst(7).joined(separator: " ")
      return [.phase(.key_exchange)]
    }
    if text.hasPrefix("kex: algorithm: ") { facts.keyExchange = after("algorithm:") ?? "" }
    if text.hasPrefix("kex: host key algorithm: ") { facts.hostKeyType = after("algorithm:") ?? "" }
    if text.hasPrefix("kex: server->client ") {
      facts.cipher = after("cipher:") ?? ""
      facts.mac = after("MAC:") ?? ""
    }
    if text.hasPrefix("Server host key: ") || text.hasPrefix("Server host certificate: ") {
      facts.hostKeyFingerprint = words.first { $0.hasPrefix("SHA256:") }.map(String.init) ?? ""
      return [.phase(.host_key)]
    }
    if text.hasPrefix("SSH2_MSG_SERVICE_ACCEPT") { return [.phase(.authenticate)] }
    if text.hasPrefix("Offering public key: ") { offeredCount += 1 }
    if text.hasPrefix("Server accepts key: "), let print = words.first(where: { $0.hasPrefix("SHA256:") }) {
      let isCertified = words.contains { $0.hasSuffix("-CERT") }
      facts.authentication = "publickey (\(print)\(isCertified ? ", certificate" : ""))"
    }
    if text.hasPrefix("Entering interactive session") { return [.ready] }
    if text.hasPrefix("kex_exchange_identification: banner line") {
      for words in ["Exceeded MaxStartups", "Not allowed at this time"] where text.contains(words) { refusal = words }
    }
    return []
  }

  // MARK: why it ended

  /// Whether the client refused the host's key.
  var refusedHostKey: Bool {
    ["Host key verification failed", "REMOTE HOST IDENTIFICATION HAS CHANGED", "host key is known for"].contains {
      tail.contains($0)
    }
  }

  /// The last words, for a person.
  var lastWords: String {
    let lines = tail.split(separator: "\n").suffix(3).joined(separator: " ")
    let plain = String(
      lines.suffix(300).map { $0.isASCII && ($0.asciiValue ?? 0) >= 0x20 && $0 != "\u{7F}" ? $0 : "?" })
    return plain.isEmpty ? "it said nothing" : plain
  }

  /// The reason why a master ended that was not asked to.
  ///
  /// - Parameters:
  ///   - phase: as far as it had come; `.connection` once it was logged in.
  ///   - status: its wait status.
  func failure(_ phase: RemoteError.Phase, endpoint: Connection.Endpoint, status: Int32) -> RemoteError {
    let host = endpoint.host
    let place = "\(host) port \(endpoint.port)"
    func says(_ words: String...) -> Bool { words.contains { tail.contains($0) } }
    func error(_ code: RemoteError.Code, _ phase: RemoteError.Phase, _ message: String) -> RemoteError {
      RemoteError(code, phase: phase, message + " (ssh: \(lastWords))", rawCode: status)
    }
    if phase == .connection {
      return error(
        .lost, .connection,
        says("Timeout, server", "not responding")
          ? "\(host) has sent nothing for too long, not even an answer to a keep-alive."
          : "The connection to \(host) has ended.")
    }
    if let refusal {
      return error(
        .refusedByPolicy, .banner,
        "\(host) turns us away for now (\"\(refusal)\"): too many logins at once, or a penalty.")
    }
    if refusedHostKey { return error(.hostKeyUnknown, .host_key, "The host key of \(place) is not trusted.") }
    if says("Bad configuration option", "unknown option", "Unsupported option") {
      return error(.protocolError, phase, "The system's ssh is too old, or its configuration is wrong: 8.5 is needed.")
    }
    if says("no matching ", "Unable to negotiate") {
      return error(.noCommonAlgorithm, .key_exchange, "\(host) and the system's ssh share no algorithm.")
    }
    if says("Could not resolve hostname") {
      return error(.unreachable, .resolve, "\(host) does not resolve.")
    }
    if says("Connection refused") {
      return error(.unreachable, .connect, "\(place) refuses the connection: nothing listens there.")
    }
    if says("No route to host", "Network is unreachable") {
      return error(.unreachable, .connect, "\(place) cannot be connected to.")
    }
    if says(
      "Not allowed at this time", "Exceeded MaxStartups", "kex_exchange_identification: Connection closed",
      "kex_exchange_identification: read: Connection reset")
    {
      return error(
        .refusedByPolicy, .banner,
        "\(host) turns us away before the key exchange: too many logins at once, or a penalty.")
    }
    if says("Permission denied", "Too many authentication failures") {
      guard offeredCount > 0 || !says("Load key", "no such identity", "UNPROTECTED") else {
        return error(.noCredential, .authenticate, "No key could be offered to \(host).")
      }
      return error(
        .authenticationFailed, .authenticate,
        "\(host) refused \(endpoint.user). Put the key's public half into ~/.ssh/authorized_keys of \(endpoint.user) "
          + "there, or name another key or user.")
    }
    if says("Connection timed out", "Operation timed out", " timed out", "Timeout, server") {
      return error(.timedOut, phase == .resolve ? .connect : phase, "\(place) did not answer in time.")
    }
    if says("Connection closed by", "Connection reset", "closed by remote host", "Broken pipe") {
      return error(.lost, phase, "\(host) closed the connection.")
    }
    return error(.protocolError, phase, "The system's ssh could not connect to \(place).")
  }
}
