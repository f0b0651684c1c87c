internal import CCurl
internal import Glibc

extension Exchange {
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

  func configure(now: ContinuousClock.Instant) throws(TransferError) {
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
    try check(ccurl_set_progress_callback(easy, onProgress))
    try check(ccurl_set_pointer(easy, CURLOPT_XFERINFODATA, context))
    try set(CURLOPT_NOPROGRESS, 0)
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
    if let path = request.unixSocket { try set(CURLOPT_UNIX_SOCKET_PATH, path) }
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
}
