internal import CCurl
internal import Glibc

/// One transfer that libcurl works on. Lives on the transfer thread only, from `begin` to `deinit`.
final class Exchange {
  let order: TransferOrder
  let easy: UnsafeMutableRawPointer
  private let sockets: SocketTable
  private let errorText: UnsafeMutablePointer<CChar>
  /// Lists that libcurl reads during the transfer; freed with it.
  private var lists: [UnsafeMutablePointer<curl_slist>] = []

  /// When the current phase began: what the relay's next reply is timed from.
  private var phaseBegan: ContinuousClock.Instant
  private var isConnected = false
  /// An error of ours that made us break off; wins over libcurl's.
  private var verdict: TransferError?

  // SMTP
  var session: SMTPSession?
  private var sentCount = 0

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
    phaseBegan = now
    errorText = .allocate(capacity: Int(CURL_ERROR_SIZE))
    errorText.initialize(repeating: 0, count: Int(CURL_ERROR_SIZE))
    try configure(now: now)
  }

  deinit {
    curl_easy_cleanup(easy)
    lists.forEach { curl_slist_free_all($0) }
    errorText.deallocate()
  }

  // MARK: Options

  private func check(_ code: CURLcode) throws(TransferError) {
    // CURLE_OK; CURLE_UNKNOWN_OPTION, CURLE_BAD_FUNCTION_ARGUMENT, CURLE_OUT_OF_MEMORY: none depends on the peer.
    guard code == CURLE_OK else {
      throw TransferError(
        .failed, "libcurl refuses an option: \(String(cString: curl_easy_strerror(code)))",
        rawCode: Int32(bitPattern: code.rawValue))
    }
  }

  private func set(_ option: CURLoption, _ value: Int) throws(TransferError) {
    try check(ccurl_set_long(easy, option, value))
  }

  private func set(_ option: CURLoption, _ value: String) throws(TransferError) {
    try check(ccurl_set_string(easy, option, value))
  }

  private func setList(_ option: CURLoption, _ values: [String]) throws(TransferError) {
    var list: UnsafeMutablePointer<curl_slist>?
    for value in values {
      guard let longer = curl_slist_append(list, value) else {
        curl_slist_free_all(list)
        throw TransferError(.failed, "out of memory")
      }
      list = longer
    }
    guard let list else { return }
    lists.append(list)
    try check(ccurl_set_list(easy, option, list))
  }

  private func configure(now: ContinuousClock.Instant) throws(TransferError) {
    try check(ccurl_set_pointer(easy, CURLOPT_ERRORBUFFER, errorText))
    try set(CURLOPT_NOSIGNAL, 1)
    try set(CURLOPT_FOLLOWLOCATION, 0)
    // A connection is never used twice: libcurl 7.88 hands a connection that was made for one trusted authority to a
    // request with another, and a kept connection has passed another request's address guard, not this one's.
    try set(CURLOPT_FRESH_CONNECT, 1)
    try set(CURLOPT_FORBID_REUSE, 1)
    try set(CURLOPT_SSL_SESSIONID_CACHE, 0)
    try set(CURLOPT_SSL_VERIFYPEER, 1)
    try set(CURLOPT_SSL_VERIFYHOST, 2)
    try set(CURLOPT_SSLVERSION, Int(CURL_SSLVERSION_TLSv1_2))
    // Proxies of the environment would hide the peer from the address guard.
    try set(CURLOPT_PROXY, "")
    // Without this, breaking off during name resolution waits for the resolver, and every transfer with it.
    try set(CURLOPT_QUICK_EXIT, 1)
    let remaining = order.submitted + order.totalDeadline - now
    try set(CURLOPT_CONNECTTIMEOUT_MS, min(order.connectDeadline, remaining).positiveMilliseconds)
    // Ours comes first and knows the phase; this one is there should libcurl be busy within itself.
    try set(CURLOPT_TIMEOUT_MS, remaining.positiveMilliseconds + 1_000)

    let context = Unmanaged.passUnretained(self).toOpaque()
    try check(ccurl_set_open_socket_callback(easy, onOpenSocket))
    try check(ccurl_set_pointer(easy, CURLOPT_OPENSOCKETDATA, context))
    try check(ccurl_set_close_socket_callback(easy, onCloseSocket))
    // The table, not this exchange: libcurl may close a connection after its transfer is gone.
    try check(
      ccurl_set_pointer(easy, CURLOPT_CLOSESOCKETDATA, Unmanaged.passUnretained(sockets).toOpaque()))
    try check(ccurl_set_data_callback(easy, CURLOPT_HEADERFUNCTION, onHeader))
    try check(ccurl_set_pointer(easy, CURLOPT_HEADERDATA, context))
    try check(ccurl_set_data_callback(easy, CURLOPT_WRITEFUNCTION, onBody))
    try check(ccurl_set_pointer(easy, CURLOPT_WRITEDATA, context))
    switch order.work {
    case .mail(let mail): try configure(mail, context: context)
    case .http(let request): try configure(request)
    }
  }

  private func configure(_ mail: MailTransfer, context: UnsafeMutableRawPointer) throws(TransferError) {
    session = SMTPSession(security: mail.relay.security, authenticates: mail.username != nil)
    try set(CURLOPT_PROTOCOLS_STR, "smtp,smtps")
    try set(CURLOPT_URL, mail.relay.url(clientName: mail.clientName ?? Self.hostName))
    try set(CURLOPT_USE_SSL, Int(mail.relay.security == .startTLS ? CURLUSESSL_ALL.rawValue : CURLUSESSL_NONE.rawValue))
    if let caFile = mail.caFile { try set(CURLOPT_CAINFO, caFile) }
    try set(CURLOPT_MAIL_FROM, try mail.reversePath())
    try setList(CURLOPT_MAIL_RCPT, ["<\(try MailTransfer.envelopeAddress(mail.recipient))>"])
    if let username = mail.username, let password = mail.password {
      try set(CURLOPT_USERNAME, username)
      try check(password.withText { ccurl_set_string(easy, CURLOPT_PASSWORD, $0) })
      // Named, because libcurl would otherwise try GSSAPI or NTLM first where a server offers them.
      try set(
        CURLOPT_LOGIN_OPTIONS,
        mail.relay.security == .plain ? "AUTH=PLAIN;AUTH=LOGIN;AUTH=CRAM-MD5" : "AUTH=PLAIN;AUTH=LOGIN")
    }
    try set(CURLOPT_UPLOAD, 1)
    try check(ccurl_set_offset(easy, CURLOPT_INFILESIZE_LARGE, curl_off_t(mail.message.count)))
    try check(ccurl_set_data_callback(easy, CURLOPT_READFUNCTION, onRead))
    try check(ccurl_set_pointer(easy, CURLOPT_READDATA, context))
    // Deadlines for replies are ours, for two reasons: this one counts whole seconds, and when it passes libcurl says
    // QUIT to the silent relay and waits once more, blocking its thread. Set as a last resort.
    try set(CURLOPT_SERVER_RESPONSE_TIMEOUT, mail.deadlines.reply.positiveMilliseconds / 1_000 + 5)
  }

  private func configure(_ request: HTTPRequest) throws(TransferError) {
    try set(CURLOPT_PROTOCOLS_STR, "http,https")
    try set(CURLOPT_URL, request.url)
    try set(CURLOPT_HTTP_VERSION, Int(CURL_HTTP_VERSION_1_1))
    try set(CURLOPT_USERAGENT, "syscrap")
    if let caFile = request.caFile { try set(CURLOPT_CAINFO, caFile) }
    // "Name:" takes a field away, "Name;" sends it empty.
    var fields = ["Expect:"]
    if !request.headers.contains(where: { $0.name.lowercased() == "content-type" }) { fields.append("Content-Type:") }
    fields += request.headers.map { $0.value.isEmpty ? "\($0.name);" : "\($0.name): \($0.value)" }
    try setList(CURLOPT_HTTPHEADER, fields)
    if request.method == "HEAD" {
      try set(CURLOPT_NOBODY, 1)
    } else if let body = request.body {
      try set(CURLOPT_POST, 1)
      try check(ccurl_set_offset(easy, CURLOPT_POSTFIELDSIZE_LARGE, curl_off_t(body.count)))
      try check(
        body.withUnsafeBytes {
          // libcurl copies as many bytes as were told before.
          ccurl_set_pointer(easy, CURLOPT_COPYPOSTFIELDS, UnsafeMutableRawPointer(mutating: $0.baseAddress) ?? easy)
        })
      try set(CURLOPT_CUSTOMREQUEST, request.method)
    } else {
      try set(CURLOPT_HTTPGET, 1)
      try set(CURLOPT_CUSTOMREQUEST, request.method)
    }
  }

  /// This host's name, or "localhost" where it is none that fits a command.
  private static let hostName: String = {
    var buffer = [CChar](repeating: 0, count: 256)
    guard gethostname(&buffer, buffer.count - 1) == 0 else { return "localhost" }
    let bytes = buffer.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }
    guard !bytes.isEmpty, bytes.allSatisfy(MailTransfer.isHostName) else { return "localhost" }
    return String(decoding: bytes, as: UTF8.self)
  }()

  // MARK: Time

  /// Notes progress that has no callback. Call after each round of libcurl.
  func observe(now: ContinuousClock.Instant) {
    guard !isConnected, ccurl_get_offset(easy, CURLINFO_CONNECT_TIME_T) > 0 else { return }
    isConnected = true
    phaseBegan = now
    // For SMTP libcurl counts the session up to AUTH as connecting. Its connect deadline has done its work (it also
    // divides it among a host's addresses, which is why it is used at all); from here on the reply deadline holds.
    if case .mail = order.work {
      _ = ccurl_set_long(easy, CURLOPT_CONNECTTIMEOUT_MS, order.totalDeadline.positiveMilliseconds + 1_000)
    }
  }

  /// When this transfer must be broken off, unless something happens before.
  var deadline: ContinuousClock.Instant {
    let total = order.submitted + order.totalDeadline
    guard case .mail(let mail) = order.work, isConnected else { return total }
    return min(total, phaseBegan + mail.deadlines.reply)
  }

  /// The error for a deadline that passed.
  func timeoutError() -> TransferError {
    finish(CURLE_OPERATION_TIMEDOUT).error ?? TransferError(.timedOut, "a deadline passed")
  }

  /// The error for a transfer that is broken off for another reason than time.
  func abandoned(_ code: TransferError.Code, _ reason: String) -> TransferError {
    TransferError(code, "\(order.endpoint): \(reason)", isOutcomeUnknown: isAfterMessage)
  }

  private var isAfterMessage: Bool { session?.phase == .acceptance }

  private var phaseName: String {
    if !isConnected, ccurl_get_offset(easy, CURLINFO_CONNECT_TIME_T) == 0 {
      return ccurl_get_offset(easy, CURLINFO_NAMELOOKUP_TIME_T) == 0
        ? "the host name to be resolved" : "the connection"
    }
    if case .mail(let mail) = order.work, let session {
      if mail.relay.security == .implicitTLS, session.phase == .greeting,
        ccurl_get_offset(easy, CURLINFO_APPCONNECT_TIME_T) == 0
      {
        return "the TLS handshake"
      }
      return session.phase.rawValue
    }
    return ccurl_get_offset(easy, CURLINFO_STARTTRANSFER_TIME_T) == 0 ? "the reply" : "the rest of the reply"
  }

  // MARK: The end

  /// What came of it.
  func finish(_ result: CURLcode) -> Result<TransferOutcome, TransferError> {
    if let verdict { return .failure(verdict) }
    let status = ccurl_get_long(easy, CURLINFO_RESPONSE_CODE)
    switch order.work {
    case .mail:
      let text = session?.replyText ?? ""
      if result == CURLE_OK { return .success(.mail(MailReply(code: status, text: text))) }
      return .failure(mailError(result, status: status, text: text))
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

  private func mailError(_ result: CURLcode, status: Int, text: String) -> TransferError {
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

  fileprivate func received(header bytes: [UInt8]) -> Bool {
    guard session == nil else { return received(reply: bytes) }
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
    let before = session?.phase
    let step = session?.receive(bytes) ?? .goOn
    if session?.phase != before { phaseBegan = .now }
    switch step {
    case .goOn: return true
    case .ended:
      sockets.stopReading(for: order.id)
      return true
    case .refuse(let code, let reason):
      verdict = TransferError(
        code, "\(order.endpoint): \(reason)", responseCode: session?.code ?? 0,
        rawCode: Int32(bitPattern: CURLE_LOGIN_DENIED.rawValue))
      sockets.stopReading(for: order.id)
      return false
    }
  }

  fileprivate func received(body bytes: UnsafeRawBufferPointer) -> Bool {
    // A relay has no body to send.
    guard session == nil else { return true }
    let room = HTTPReply.maximumBodyBytes - body.count
    body.append(contentsOf: bytes.prefix(room))
    if bytes.count > room { isTruncated = true }
    return !isTruncated
  }

  fileprivate func read(into buffer: UnsafeMutableRawBufferPointer) -> Int {
    guard case .mail(let mail) = order.work else { return 0 }
    phaseBegan = .now
    let count = min(buffer.count, mail.message.count - sentCount)
    guard count > 0 else { return 0 }
    session?.sendsMessage()
    mail.message.withUnsafeBytes {
      buffer.copyMemory(from: UnsafeRawBufferPointer(rebasing: $0[sentCount..<sentCount + count]))
    }
    sentCount += count
    // libcurl knows the size and does not ask again: what is handed over now may be on its way in a moment.
    if sentCount == mail.message.count { session?.sentMessage() }
    return count
  }

  fileprivate func openSocket(_ address: UnsafeMutablePointer<curl_sockaddr>) -> curl_socket_t {
    let bad = ccurl_bad_socket()
    let length = Int(address.pointee.addrlen)
    guard let offset = MemoryLayout<curl_sockaddr>.offset(of: \.addr) else { return bad }
    if let allows = order.addressGuard {
      // The structure ends with the address itself, which is longer than the member it is declared as.
      let raw = UnsafeRawBufferPointer(start: UnsafeRawPointer(address) + offset, count: length)
      guard let peer = PeerAddress(family: address.pointee.family, raw: raw), allows(peer) else {
        verdict =
          verdict ?? TransferError(.addressRefused, "\(order.endpoint): the address of this host is not allowed")
        return bad
      }
    }
    let descriptor = socket(
      address.pointee.family, address.pointee.socktype | Int32(SOCK_CLOEXEC.rawValue), address.pointee.protocol)
    guard descriptor >= 0 else { return bad }
    // One allowed address is enough.
    verdict = nil
    sockets.add(descriptor, for: order.id)
    return descriptor
  }
}

/// Which socket belongs to which transfer. Lives on the transfer thread, longer than all transfers.
final class SocketTable {
  private var owners: [Int32: UInt64] = [:]

  func add(_ descriptor: Int32, for id: UInt64) { owners[descriptor] = id }
  func remove(_ descriptor: Int32) { owners[descriptor] = nil }

  /// What comes from the peer is no longer wanted; what we say still goes out.
  func stopReading(for id: UInt64) {
    for (descriptor, owner) in owners where owner == id { _ = shutdown(descriptor, Int32(SHUT_RD)) }
  }
}

extension Duration {
  /// Whole milliseconds, rounded up, between 1 and 2^31 - 1: 0 would mean "no bound" to libcurl.
  var positiveMilliseconds: Int {
    let (seconds, attoseconds) = components
    guard seconds < 2_000_000 else { return 2_000_000_000 }
    guard seconds >= 0 else { return 1 }
    return max(1, Int(seconds) * 1_000 + Int((attoseconds + 999_999_999_999_999) / 1_000_000_000_000_000))
  }
}

extension Result {
  var error: Failure? {
    if case .failure(let error) = self { error } else { nil }
  }
}

// Free functions: a closure written where an actor is current would inherit that actor and end the process when
// libcurl calls it.

private func onHeader(
  _ bytes: UnsafeMutablePointer<CChar>?, _ size: Int, _ count: Int, _ context: UnsafeMutableRawPointer?
) -> Int {
  guard let bytes, let context else { return 0 }
  let exchange = Unmanaged<Exchange>.fromOpaque(context).takeUnretainedValue()
  let line = Array(UnsafeRawBufferPointer(start: bytes, count: size * count))
  return exchange.received(header: line) ? size * count : 0
}

private func onBody(
  _ bytes: UnsafeMutablePointer<CChar>?, _ size: Int, _ count: Int, _ context: UnsafeMutableRawPointer?
) -> Int {
  guard let bytes, let context else { return 0 }
  let exchange = Unmanaged<Exchange>.fromOpaque(context).takeUnretainedValue()
  return exchange.received(body: UnsafeRawBufferPointer(start: bytes, count: size * count)) ? size * count : 0
}

private func onRead(
  _ buffer: UnsafeMutablePointer<CChar>?, _ size: Int, _ count: Int, _ context: UnsafeMutableRawPointer?
) -> Int {
  guard let buffer, let context else { return Int(CURL_READFUNC_ABORT) }
  let exchange = Unmanaged<Exchange>.fromOpaque(context).takeUnretainedValue()
  return exchange.read(into: UnsafeMutableRawBufferPointer(start: buffer, count: size * count))
}

private func onOpenSocket(
  _ context: UnsafeMutableRawPointer?, _ purpose: curlsocktype, _ address: UnsafeMutablePointer<curl_sockaddr>?
) -> curl_socket_t {
  guard let context, let address else { return ccurl_bad_socket() }
  return Unmanaged<Exchange>.fromOpaque(context).takeUnretainedValue().openSocket(address)
}

private func onCloseSocket(_ context: UnsafeMutableRawPointer?, _ descriptor: curl_socket_t) -> Int32 {
  if let context { Unmanaged<SocketTable>.fromOpaque(context).takeUnretainedValue().remove(descriptor) }
  return close(descriptor)
}
