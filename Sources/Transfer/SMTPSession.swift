/// Where an SMTP session stands, followed by the relay's replies. Decides nothing on the wire but when to stop.
///
/// libcurl speaks the protocol; this follows it so that an error can name the phase, so that each reply has its own
/// deadline, and so that a session which is over is not waited on (see `Step.ended`).
struct SMTPSession {
  /// What is awaited. The raw value completes the sentence "… while waiting for".
  enum Phase: String, Hashable {
    case greeting = "the greeting"
    case hello = "the reply to EHLO"
    /// The relay did not know EHLO; libcurl asks again with HELO where no STARTTLS is needed.
    case oldHello = "the reply to HELO"
    case startTLS = "the reply to STARTTLS"
    /// The handshake, and the reply to the EHLO that follows it: nothing is heard in between.
    case handshake = "the TLS handshake or the reply to the EHLO after it"
    case authentication = "the reply to AUTH"
    case sender = "the reply to MAIL"
    case recipient = "the reply to RCPT"
    case data = "the reply to DATA"
    /// The relay said 354: the message goes out.
    case message = "the message to be taken"
    /// The message went out completely: from here on a lost connection leaves the outcome unknown.
    case acceptance = "the reply after the final dot"
    /// The last reply is here.
    case over = "the end"
  }

  /// What to do after a reply.
  enum Step: Equatable {
    case goOn
    /// No further reply matters. libcurl says QUIT and then waits for the answer before it hands back the result; with
    /// the reading side of the socket shut down it does not wait.
    case ended
    /// Nothing more may be said to this relay.
    case refuse(TransferError.Code, String)
  }

  let security: Relay.Security
  let authenticates: Bool
  private(set) var phase = Phase.greeting
  /// The last complete reply: 0 before the first.
  private(set) var code = 0
  /// The last lines of the reply that is being read or was read last, without codes, cleaned.
  private var lines: [String] = []
  private var isReplyComplete = true
  private var offersStartTLS = false
  private var mechanisms: Set<String>?

  init(security: Relay.Security, authenticates: Bool) {
    self.security = security
    self.authenticates = authenticates
  }

  /// At most 512 bytes.
  var replyText: String { PlainText.clean(lines.joined(separator: " "), limit: 512) }

  /// The way to authenticate, most wanted first: only such as show the password to nobody on the way.
  private var spoken: Set<String> {
    security == .plain ? ["PLAIN", "LOGIN", "CRAM-MD5"] : ["PLAIN", "LOGIN"]
  }

  /// Takes one line of the relay, with or without its end.
  mutating func receive(_ line: [UInt8]) -> Step {
    // The reply to QUIT, if it was quicker than the end of our reading.
    guard phase != .over else { return .goOn }
    var line = line[...]
    while line.last == 10 || line.last == 13 { line.removeLast() }
    guard line.count >= 3, line.prefix(3).allSatisfy({ (0x30...0x39).contains($0) }) else { return .goOn }
    let number = line.prefix(3).reduce(0) { $0 * 10 + Int($1 - 0x30) }
    let isLast = line.count == 3 || line[line.startIndex + 3] == 0x20
    let text = PlainText.clean(line.dropFirst(4), limit: 512)
    if isReplyComplete { lines = [] }
    isReplyComplete = isLast
    // A reply of more than eight lines keeps its last eight.
    if lines.count >= 8 { lines.removeFirst() }
    lines.append(text)
    if phase == .hello || phase == .handshake { note(capability: text.uppercased()) }
    guard isLast else { return .goOn }
    code = number
    return complete(number)
  }

  /// A part of the message is on its way.
  mutating func sendsMessage() {
    if phase == .data { phase = .message }
  }

  /// The message's last byte was handed over; the final dot follows.
  mutating func sentMessage() {
    if phase == .data || phase == .message { phase = .acceptance }
  }

  private mutating func note(capability: String) {
    if capability == "STARTTLS" { offersStartTLS = true }
    if capability.hasPrefix("AUTH ") || capability.hasPrefix("AUTH=") {
      mechanisms = (mechanisms ?? []).union(capability.dropFirst(5).split(separator: " ").map(String.init))
    }
  }

  private mutating func complete(_ number: Int) -> Step {
    let isPositive = (200..<300).contains(number)
    switch phase {
    case .greeting: return isPositive ? next(.hello) : end()
    case .hello:
      if !isPositive { return security == .startTLS ? end() : next(.oldHello) }
      if security == .startTLS { return offersStartTLS ? next(.startTLS) : end() }
      return greeted()
    case .handshake: return isPositive ? greeted() : next(.oldHello)
    case .oldHello: return isPositive ? greeted() : end()
    case .startTLS:
      guard number == 220 else { return end() }
      // What was said in the clear does not count (RFC 3207, 4.2).
      mechanisms = nil
      return next(.handshake)
    case .authentication:
      if number == 334 { return .goOn }
      return isPositive ? next(.sender) : end()
    case .sender: return isPositive ? next(.recipient) : end()
    case .recipient: return isPositive ? next(.data) : end()
    case .data: return number == 354 ? next(.message) : end()
    case .message, .acceptance: return end()
    case .over: return .goOn
    }
  }

  private mutating func greeted() -> Step {
    guard authenticates else { return next(.sender) }
    guard let mechanisms else {
      return .refuse(
        .authentication, "the relay offers no AUTH, but a user name is given; take it away to send without")
    }
    guard !mechanisms.isDisjoint(with: spoken) else {
      return .refuse(.authentication, "the relay offers none of the ways to authenticate that we speak")
    }
    return next(.authentication)
  }

  private mutating func next(_ phase: Phase) -> Step {
    self.phase = phase
    return .goOn
  }

  /// Keeps what was refused, so that the error can say it.
  private mutating func end() -> Step {
    refusedIn = (200..<300).contains(code) && (phase == .acceptance || phase == .message) ? nil : phase
    phase = .over
    return .ended
  }

  /// The phase whose reply ended the session before its aim.
  private(set) var refusedIn: Phase?
}
