/// One message to one recipient through a relay.
package struct MailTransfer: Sendable {
  /// The bounds on one delivery.
  package struct Deadlines: Sendable, Hashable {
    /// From the start of name resolution until the connection stands.
    package var connect: Duration = .seconds(10)
    /// For each reply of the relay, the TLS handshake, and each part of the message that is sent.
    package var reply: Duration = .seconds(30)
    /// From the call until the relay's last reply, the wait for a free slot included.
    package var total: Duration = .seconds(120)
    package init() {}
  }

  package var relay: Relay
  /// With a user name the relay must offer AUTH (PLAIN or LOGIN; CRAM-MD5 too on a plain relay): else nothing is sent.
  package var username: String?
  package var password: Secret?
  /// The envelope's sender: `a@b`, `<a@b>` or `Name <a@b>`; empty for the null sender.
  package var from: String
  /// The envelope's recipient, in the same forms, not empty.
  package var recipient: String
  /// A complete message as of RFC 5322: lines end with CRLF, no bare CR or LF. Dots are stuffed on the way.
  package var message: [UInt8]
  /// PEM file of the authorities to trust instead of the system's.
  package var caFile: String?
  /// The name to greet with; this host's when nil.
  package var clientName: String?
  package var deadlines = Deadlines()
  package var addressGuard: AddressGuard?

  package init(relay: Relay, from: String, recipient: String, message: [UInt8]) {
    self.relay = relay
    self.from = from
    self.recipient = recipient
    self.message = message
  }
}

/// The relay took the message.
package struct MailReply: Sendable, Hashable {
  /// 250, or another 2xx.
  package var code: Int
  /// The relay's last reply without its code, lines joined by spaces, without control characters, at most 512 bytes.
  package var text: String
}

extension MailTransfer {
  /// A message as large as this is refused before anything is sent.
  package static let maximumBytes = 25 * 1_024 * 1_024

  /// The address that goes into the envelope.
  ///
  /// - Throws: `invalidRequest` unless it is `local@domain` in printable ASCII without spaces and angle brackets, at
  ///   most 254 bytes (RFC 5321, 4.5.3.1.3): nothing else can end a line or an argument of a command.
  package static func envelopeAddress(_ text: String) throws(TransferError) -> String {
    func refuse(_ reason: String) -> TransferError {
      TransferError(.invalidRequest, "the mail address \(PlainText.clean(text, limit: 100)) \(reason)")
    }
    guard text.unicodeScalars.allSatisfy({ $0.value >= 0x20 && $0.value != 0x7f }) else {
      throw refuse("holds a line break or another control character")
    }
    var address = Substring(text)
    while address.first == " " { address.removeFirst() }
    while address.last == " " { address.removeLast() }
    if address.last == ">" {
      guard let start = address.firstIndex(of: "<") else { throw refuse("has a > without a <") }
      address = address[address.index(after: start)...].dropLast()
    }
    guard !address.isEmpty else { throw refuse("is empty") }
    guard address.utf8.count <= 254 else { throw refuse("is longer than 254 bytes") }
    guard address.utf8.allSatisfy({ $0 < 0x80 }) else {
      throw refuse("is not ASCII: write the domain in its xn-- form")
    }
    guard address.utf8.allSatisfy({ $0 > 0x20 && $0 != UInt8(ascii: "<") && $0 != UInt8(ascii: ">") }) else {
      throw refuse("holds a space or an angle bracket")
    }
    guard let at = address.lastIndex(of: "@"), at != address.startIndex, address.index(after: at) != address.endIndex
    else { throw refuse("is not of the form local@domain") }
    return String(address)
  }

  /// The sender's address with brackets; `<>` for the null sender.
  func reversePath() throws(TransferError) -> String {
    from.isEmpty || from == "<>" ? "<>" : "<\(try Self.envelopeAddress(from))>"
  }

  /// Checks all that would otherwise change the protocol's structure.
  func validate() throws(TransferError) {
    _ = try reversePath()
    _ = try Self.envelopeAddress(recipient)
    guard !message.isEmpty else { throw TransferError(.invalidRequest, "the message is empty") }
    guard message.count <= Self.maximumBytes else {
      throw TransferError(.tooLarge, "the message has \(message.count) bytes, at most \(Self.maximumBytes) are sent")
    }
    // A bare CR or LF before a dot ends the message early for some servers and not for others.
    var previous: UInt8 = 0
    for byte in message {
      if (byte == 10) != (previous == 13) {
        throw TransferError(.invalidRequest, "the message has a line end that is not CR LF")
      }
      previous = byte
    }
    guard previous != 13 else { throw TransferError(.invalidRequest, "the message ends within a line end") }
    if let username {
      guard !username.isEmpty, username.unicodeScalars.allSatisfy({ $0.value >= 0x20 && $0.value != 0x7f }) else {
        throw TransferError(.invalidRequest, "the user name is empty or holds a control character")
      }
      guard let password, !password.holdsNUL else {
        throw TransferError(.invalidRequest, "there is a user name, but no password, or one with a NUL byte in it")
      }
    }
    if let clientName {
      guard !clientName.isEmpty, clientName.utf8.count <= 255,
        clientName.utf8.allSatisfy({ Self.isHostName($0) || [0x5b, 0x5d, 0x3a].contains($0) })
      else { throw TransferError(.invalidRequest, "the name to greet with is not a host name") }
    }
  }

  /// Letters, digits, dot, hyphen, underscore.
  static func isHostName(_ byte: UInt8) -> Bool {
    switch byte {
    case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"): true
    case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "."), UInt8(ascii: "-"), UInt8(ascii: "_"): true
    default: false
    }
  }
}
