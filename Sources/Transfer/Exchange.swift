internal import CCurl
internal import Glibc
internal import Threads

/// One transfer that libcurl works on.
final class Exchange: @unchecked Sendable {
  // Sendable is true: `progress` and `sockets` are locked, `order` and `easy` are constant, and everything else is
  // touched by one thread only, the one that runs libcurl on `easy`: the transfer thread for HTTP, a thread of its own
  // for mail. `breakOff`, `deadline`, `timeoutError` and `abandoned` are for any thread and use none of that.
  let order: TransferOrder
  let easy: UnsafeMutableRawPointer
  let sockets: SocketTable
  let errorText: UnsafeMutablePointer<CChar>
  /// Lists that libcurl reads during the transfer; freed with it.
  var lists: [UnsafeMutablePointer<curl_slist>] = []

  /// How far it is, as other threads may ask.
  private struct Progress {
    /// When the current phase began: what the relay's next reply is timed from.
    var phaseBegan: ContinuousClock.Instant
    var hasAddress = false
    var isConnected = false
    var isSecured = false
    var hasReplyBegun = false
    var session: SMTPSession?
    /// An error of ours that made us break off; wins over libcurl's.
    var verdict: TransferError?
    var isBrokenOff = false
  }

  private let progress: Locked<Progress>
  private var sentCount = 0
  private var isAddressRefused = false

  // HTTP
  private var body: [UInt8] = []
  private var isTruncated = false
  private var headers: [(name: String, value: String)] = []
  private var headerBytes = 0

  /// - Throws: `failed` when libcurl has no memory or knows an option not.
  init(_ order: TransferOrder, sockets: SocketTable, now: ContinuousClock.Instant) throws(TransferError) {
    guard let easy = curl_easy_init() else { throw TransferError(.failed, "out of memory") }
    self.order = order
    self.easy = easy
    self.sockets = sockets
    let session: SMTPSession? =
      if case .mail(let mail) = order.work {
        SMTPSession(security: mail.relay.security, authenticates: mail.username != nil)
      } else {
        nil
      }
    progress = Locked(Progress(phaseBegan: now, session: session))
    errorText = .allocate(capacity: Int(CURL_ERROR_SIZE))
    errorText.initialize(repeating: 0, count: Int(CURL_ERROR_SIZE))
    try configure(now: now)
  }

  deinit {
    curl_easy_cleanup(easy)
    lists.forEach { curl_slist_free_all($0) }
    errorText.deallocate()
  }

  // MARK: From any thread

  /// Ends a transfer from outside: whatever it waits for in a socket ends at once, and nothing more goes out. In
  /// particular not the final dot, which libcurl 7.88 sends, in the middle of a message too, when a mail's handle is
  /// taken from it.
  func breakOff() {
    progress.withLock { $0.isBrokenOff = true }
    sockets.breakOff(for: order.id)
  }

  /// When this transfer must be broken off, unless something happens before.
  var deadline: ContinuousClock.Instant {
    let total = order.submitted + order.totalDeadline
    guard case .mail(let mail) = order.work else { return total }
    return progress.withLock { $0.isConnected ? min(total, $0.phaseBegan + mail.deadlines.reply) : total }
  }

  /// When to look at `deadline` next. A connection that comes to stand makes the deadline an earlier one, without
  /// waking anybody.
  func nextLook(now: ContinuousClock.Instant) -> ContinuousClock.Instant {
    guard case .mail(let mail) = order.work else { return deadline }
    return min(deadline, now + mail.deadlines.reply)
  }

  /// The error for a deadline that passed.
  func timeoutError() -> TransferError {
    abandoned(.timedOut, "the deadline passed while waiting for \(phaseName)")
  }

  /// The error for a transfer that is broken off for another reason than time.
  func abandoned(_ code: TransferError.Code, _ reason: String) -> TransferError {
    let session = progress.withLock { $0.session }
    return TransferError(
      code, "\(order.endpoint): \(reason)", responseCode: session?.code ?? 0,
      isOutcomeUnknown: session?.phase == .acceptance)
  }

  /// The relay's acceptance, once it is here: whatever happens to the connection after it, the mail is delivered.
  var acceptance: MailReply? { Self.acceptance(of: progress.withLock { $0.session }) }

  private static func acceptance(of session: SMTPSession?) -> MailReply? {
    guard let session, session.phase == .over, session.refusedIn == nil else { return nil }
    return MailReply(code: session.code, text: session.replyText)
  }

  private var phaseName: String {
    let now = progress.withLock { $0 }
    if !now.hasAddress { return "the host name to be resolved" }
    if !now.isConnected { return "the connection" }
    guard let session = now.session, case .mail(let mail) = order.work else {
      return now.hasReplyBegun ? "the rest of the reply" : "the reply"
    }
    if mail.relay.security == .implicitTLS, session.phase == .greeting, !now.isSecured { return "the TLS handshake" }
    return session.phase.rawValue
  }

  // MARK: The end

  /// What came of it.
  func finish(_ result: CURLcode) -> Result<TransferOutcome, TransferError> {
    let (verdict, session, hasAddress) = progress.withLock { ($0.verdict, $0.session, $0.hasAddress) }
    if let verdict { return .failure(verdict) }
    if result == CURLE_COULDNT_CONNECT, isAddressRefused, !hasAddress {
      let words = "\(order.endpoint): the address of this host is not allowed"
      return .failure(TransferError(.addressRefused, words, rawCode: Int32(bitPattern: result.rawValue)))
    }
    let status = ccurl_get_long(easy, CURLINFO_RESPONSE_CODE)
    switch order.work {
    case .mail:
      if let reply = Self.acceptance(of: session) { return .success(.mail(reply)) }
      let text = session?.replyText ?? ""
      // libcurl cannot have seen more than what it passed on.
      if result == CURLE_OK { return .success(.mail(MailReply(code: status, text: text))) }
      return .failure(mailError(result, status: status, text: text, session: session))
    case .http:
      let wait = headers.first { $0.name == "retry-after" }
        .flatMap { HTTPReply.retryAfter($0.value, now: Int64(time(nil))) }
      if result == CURLE_OK || (result == CURLE_WRITE_ERROR && isTruncated) {
        return .success(
          .http(
            HTTPReply(status: status, headers: headers, body: body, isTruncated: isTruncated, retryAfter: wait)))
      }
      return .failure(error(Self.code(for: result), result, status: status, retryAfter: wait))
    }
  }

  private func mailError(
    _ result: CURLcode, status: Int, text: String, session: SMTPSession?
  ) -> TransferError {
    if let refused = session?.refusedIn {
      let code: TransferError.Code =
        switch refused {
        case .sender: .senderRefused
        case .recipient: .recipientRefused
        case .authentication: .authentication
        case .startTLS: .startTLSNotOffered
        case .hello where (200..<300).contains(status): .startTLSNotOffered
        default: .rejected
        }
      let words =
        code == .startTLSNotOffered
        ? "the relay does not offer STARTTLS, nothing was sent; smtps:// or smtp+plain:// must be said aloud"
        : "the relay refused with \(status) \(text); it was asked for \(refused.rawValue)"
      return TransferError(
        code, "\(order.endpoint): \(redact(words))", responseCode: status, rawCode: Int32(bitPattern: result.rawValue),
        isPermanent: TransferError.isPermanent(smtp: code, responseCode: status))
    }
    return error(Self.code(for: result), result, status: status, retryAfter: nil)
  }

  private func error(
    _ code: TransferError.Code, _ result: CURLcode, status: Int, retryAfter: Duration?
  ) -> TransferError {
    let detail: String
    let session = progress.withLock { $0.session }
    let isAfterMessage = session?.phase == .acceptance
    switch code {
    case .timedOut: detail = "the deadline passed while waiting for \(phaseName)"
    case .closed where isAfterMessage:
      detail = "the connection ended before the reply after the final dot: the message may have been taken"
    case .closed where session != nil: detail = "the connection ended while waiting for \(phaseName)"
    default:
      let text = PlainText.clean(String(cString: errorText), limit: 200)
      detail = text.isEmpty ? String(cString: curl_easy_strerror(result)) : text
    }
    return TransferError(
      code, "\(order.endpoint): \(redact(detail))", responseCode: status, rawCode: Int32(bitPattern: result.rawValue),
      retryAfter: retryAfter, isOutcomeUnknown: isAfterMessage)
  }

  /// Takes out of a text what a peer may have sent back of our secrets, and libcurl of a URL's path.
  private func redact(_ text: String) -> String {
    var text = text
    for secret in order.secrets where secret.utf8.count >= 3 { text = text.replacing(secret, with: "[secret]") }
    return text
  }

  /// libcurl's codes, as far as they mean something here.
  private static func code(for result: CURLcode) -> TransferError.Code {
    switch result {
    case CURLE_COULDNT_RESOLVE_HOST: .resolve
    case CURLE_COULDNT_CONNECT: .connect
    case CURLE_PEER_FAILED_VERIFICATION, CURLE_SSL_CACERT_BADFILE, CURLE_SSL_ISSUER_ERROR: .certificate
    case CURLE_SSL_CONNECT_ERROR, CURLE_SSL_CIPHER: .tls
    case CURLE_USE_SSL_FAILED: .startTLSNotOffered
    case CURLE_LOGIN_DENIED: .authentication
    case CURLE_OPERATION_TIMEDOUT: .timedOut
    case CURLE_SEND_ERROR, CURLE_RECV_ERROR, CURLE_GOT_NOTHING, CURLE_PARTIAL_FILE, CURLE_WEIRD_SERVER_REPLY,
      CURLE_UNSUPPORTED_PROTOCOL:
      .closed
    case CURLE_REMOTE_ACCESS_DENIED: .rejected
    case CURLE_URL_MALFORMAT: .invalidRequest
    default: .failed
    }
  }

  // MARK: Callbacks, on the transfer thread, from within libcurl

  func received(header bytes: [UInt8]) -> Bool {
    if case .mail = order.work { return received(reply: bytes) }
    progress.withLock { $0.hasReplyBegun = true }
    let line = String(decoding: bytes, as: UTF8.self)
    if line.hasPrefix("HTTP/") {
      // Of several heads (100 Continue, then the reply) the last counts.
      headers = []
      headerBytes = 0
      return true
    }
    headerBytes += bytes.count
    let parts = line.split(separator: ":", maxSplits: 1)
    // What is beyond the bound is not kept.
    guard parts.count == 2, headers.count < 128, headerBytes <= 65_536 else { return true }
    let value = PlainText.clean(String(parts[1]).trimmingSpaces(), limit: 8_192)
    headers.append((parts[0].lowercased(), value))
    return true
  }

  private func received(reply bytes: [UInt8]) -> Bool {
    let (step, code) = progress.withLock { progress in
      let before = progress.session?.phase
      let step = progress.session?.receive(bytes) ?? .goOn
      if progress.session?.phase != before { progress.phaseBegan = .now }
      return (step, progress.session?.code ?? 0)
    }
    switch step {
    case .goOn: return true
    case .ended:
      sockets.stopReading(for: order.id)
      return true
    case .refuse(let kind, let reason):
      progress.withLock {
        $0.verdict = TransferError(kind, "\(order.endpoint): \(reason)", responseCode: code)
      }
      sockets.stopReading(for: order.id)
      return false
    }
  }

  func received(body bytes: UnsafeRawBufferPointer) -> Bool {
    // A relay has no body to send.
    guard case .http(let request) = order.work else { return true }
    let room = max(0, request.replyLimit - body.count)
    body.append(contentsOf: bytes.prefix(room))
    if bytes.count > room { isTruncated = true }
    return !isTruncated
  }

  func read(into buffer: UnsafeMutableRawBufferPointer) -> Int {
    guard case .mail(let mail) = order.work else { return 0 }
    let count = min(buffer.count, mail.message.count - sentCount)
    guard count > 0 else { return 0 }
    mail.message.withUnsafeBytes {
      buffer.copyMemory(from: UnsafeRawBufferPointer(rebasing: $0[sentCount..<sentCount + count]))
    }
    sentCount += count
    progress.withLock { progress in
      progress.phaseBegan = .now
      progress.session?.sendsMessage()
      // libcurl knows the size and does not ask again: the final dot follows this part without a further sign.
      if sentCount == mail.message.count { progress.session?.sentMessage() }
    }
    return count
  }

  func openSocket(_ address: UnsafeMutablePointer<curl_sockaddr>) -> curl_socket_t {
    let bad = ccurl_bad_socket()
    let length = Int(address.pointee.addrlen)
    guard let offset = MemoryLayout<curl_sockaddr>.offset(of: \.addr) else { return bad }
    if let allows = order.addressGuard {
      // The structure ends with the address itself, which is longer than the member it is declared as.
      let raw = UnsafeRawBufferPointer(start: UnsafeRawPointer(address) + offset, count: length)
      guard let peer = PeerAddress(family: address.pointee.family, raw: raw), allows(peer) else {
        isAddressRefused = true
        return bad
      }
    }
    let descriptor = socket(
      address.pointee.family, address.pointee.socktype | Int32(SOCK_CLOEXEC.rawValue), address.pointee.protocol)
    guard descriptor >= 0 else { return bad }
    sockets.add(descriptor, for: order.id)
    let isBrokenOff = progress.withLock { progress in
      progress.hasAddress = true
      return progress.isBrokenOff
    }
    // Between the two: whoever breaks off from now on finds the socket in the table.
    guard !isBrokenOff else {
      sockets.remove(descriptor)
      close(descriptor)
      return bad
    }
    return descriptor
  }

  /// Called at least once a second, and after each step. Returns whether to go on.
  func step() -> Bool {
    let (isBrokenOff, isConnected, isSecured) = progress.withLock { ($0.isBrokenOff, $0.isConnected, $0.isSecured) }
    if !isConnected, ccurl_get_offset(easy, CURLINFO_CONNECT_TIME_T) > 0 {
      progress.withLock { progress in
        progress.isConnected = true
        progress.phaseBegan = .now
      }
      // For SMTP libcurl counts the session up to AUTH as connecting. Its connect deadline has done its work (it also
      // divides it among a host's addresses, which is why it is used at all); from here on the reply deadline holds.
      if case .mail = order.work {
        _ = ccurl_set_long(easy, CURLOPT_CONNECTTIMEOUT_MS, order.totalDeadline.positiveMilliseconds + 1_000)
      }
    }
    if !isSecured, ccurl_get_offset(easy, CURLINFO_APPCONNECT_TIME_T) > 0 {
      progress.withLock { $0.isSecured = true }
    }
    return !isBrokenOff
  }
}
