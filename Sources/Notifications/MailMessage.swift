package import FoundationEssentials
internal import Model

/// An e-mail as bytes: headers and one text/plain part, as RFC 5322, 2045 and 2047 want it.
///
/// Whatever the texts hold, the structure is the one below: every header value goes through one place that lets no line
/// end pass, and every line that is made has at most 76 characters.
package struct MailMessage: Sendable {
  package var from: MailAddress
  package var to: MailAddress
  package var subject: String
  package var body: String
  package var date: Date
  /// Without the angle brackets: `key@host`.
  package var messageID: String
  /// Messages of the same matter, oldest first; the last is the one this replies to.
  package var references: [String] = []
  /// More headers, by their full name; for machines that sort the mail.
  package var extra: [(name: String, value: String)] = []

  package init(
    from: MailAddress, to: MailAddress, subject: String, body: String, date: Date, messageID: String,
    references: [String] = [], extra: [(name: String, value: String)] = []
  ) {
    self.from = from
    self.to = to
    self.subject = subject
    self.body = body
    self.date = date
    self.messageID = messageID
    self.references = references
    self.extra = extra
  }

  /// The message with CRLF line ends, ready for DATA (dots are not stuffed).
  package func bytes() -> [UInt8] {
    var head = ""
    func field(_ name: String, _ tokens: [String]) {
      head += MailHeader.fold(name, tokens) + "\r\n"
    }
    field("Date", [Self.date(date)])
    field("From", MailHeader.mailbox(from))
    field("To", MailHeader.mailbox(to))
    field("Message-ID", ["<\(MailHeader.identifier(messageID))>"])
    if let last = references.last {
      field("In-Reply-To", ["<\(MailHeader.identifier(last))>"])
      field("References", references.map { "<\(MailHeader.identifier($0))>" })
    }
    field("Subject", MailHeader.text(subject))
    field("Auto-Submitted", ["auto-generated"])
    for (name, value) in extra where MailHeader.isName(name) && !value.isEmpty { field(name, MailHeader.text(value)) }
    field("MIME-Version", ["1.0"])
    field("Content-Type", ["text/plain; charset=utf-8"])
    let lines = PlainText.lines(body).split(separator: "\n", omittingEmptySubsequences: false)
    let isPlain = lines.allSatisfy { line in
      line.utf8.count <= QuotedPrintable.longestLine && !line.hasSuffix(" ") && !line.hasSuffix("\t")
        && line.utf8.allSatisfy { $0 < 0x7F && ($0 >= 0x20 || $0 == 0x09) }
    }
    field("Content-Transfer-Encoding", [isPlain ? "7bit" : "quoted-printable"])
    var text = isPlain ? lines.joined(separator: "\r\n") : lines.map(QuotedPrintable.encode).joined(separator: "\r\n")
    if !text.hasSuffix("\r\n") { text += "\r\n" }
    return Array((head + "\r\n" + text).utf8)
  }

  /// RFC 5322's form, e.g. `Sat, 21 Nov 2026 08:15:00 +0000`.
  static func date(_ date: Date) -> String {
    let stamp = Array(Instant.format(date).prefix(19))
    guard stamp.count == 19, let month = Int(String(stamp[5...6])), (1...12).contains(month) else {
      return "Thu, 01 Jan 1970 00:00:00 +0000"
    }
    let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
    // 1970-01-01 was a Thursday. The bounds are those of ``Instant``.
    let seconds = min(max(date.timeIntervalSince1970, -62_135_596_800), 253_402_300_799)
    let day = Int((seconds.isFinite ? seconds / 86_400 : 0).rounded(.down))
    let weekday = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"][((day % 7) + 7) % 7]
    return
      "\(weekday), \(String(stamp[8...9])) \(months[month - 1]) \(String(stamp[0...3])) \(String(stamp[11...18])) +0000"
  }
}

/// Header fields: encoded words where a text is not plain ASCII, folded lines, and never a line end from outside.
enum MailHeader {
  /// Recommended for headers by RFC 5322 (78) and required around encoded words by RFC 2047 (76).
  static let longestLine = 76

  /// `Name: tokens`, a token never broken; a line that would be longer than 76 goes on in the next with a space before
  /// it.
  static func fold(_ name: String, _ tokens: [String]) -> String {
    var result = name + ":"
    var column = result.utf8.count
    for token in tokens {
      if column + 1 + token.utf8.count > longestLine, column > 1 {
        result += "\r\n"
        column = 0
      }
      result += " " + token
      column += 1 + token.utf8.count
    }
    return result
  }

  /// An unstructured text as tokens. What is plain stays readable at the beginning and at the end, so that a subject
  /// begins with its `[FIRING critical]`; from the first word that is not plain to the last one it is encoded.
  static func text(_ raw: String) -> [String] {
    let words = PlainText.line(raw, limit: 900).split(separator: " ", omittingEmptySubsequences: false)
    guard let first = words.firstIndex(where: { !isPlain($0) }), let last = words.lastIndex(where: { !isPlain($0) })
    else { return words.map(String.init) }
    return words[..<first].map(String.init)
      + encodedWords(words[first...last].joined(separator: " "))
      + words[(last + 1)...].map(String.init)
  }

  /// `name <address>`, the name quoted or encoded where it must be.
  static func mailbox(_ mailbox: MailAddress) -> [String] {
    guard !mailbox.name.isEmpty else { return [mailbox.address] }
    let name = PlainText.line(mailbox.name, limit: 200)
    let words = name.split(separator: " ", omittingEmptySubsequences: false)
    let isPhrase = words.allSatisfy { isPlain($0) } && !name.contains(where: { "\"\\".contains($0) })
    // Quoted as a whole where it is short, so that commas and dots in it mean nothing.
    if isPhrase, name.utf8.count <= 60 { return ["\"\(name)\"", "<\(mailbox.address)>"] }
    return encodedWords(name) + ["<\(mailbox.address)>"]
  }

  /// A message id holds only what may stand in one.
  static func identifier(_ text: String) -> String {
    String(
      text.unicodeScalars.prefix(240).filter { scalar in
        scalar.isASCII && scalar.value > 0x20 && scalar.value < 0x7F && scalar != "<" && scalar != ">"
      }.map(Character.init))
  }

  static func isName(_ name: String) -> Bool {
    !name.isEmpty && name.utf8.count <= 60 && name.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7F && $0 != UInt8(ascii: ":") }
  }

  private static func isPlain(_ word: Substring) -> Bool {
    word.utf8.count < 70 && !word.hasPrefix("=?") && !word.isEmpty && word.utf8.allSatisfy { $0 >= 0x21 && $0 < 0x7F }
  }

  /// RFC 2047's base64 form; at most 75 characters each, no character cut in two.
  private static func encodedWords(_ text: String) -> [String] {
    // 52 digits for 39 bytes; with "=?utf-8?B?" and "?=" 64 characters, which fit beside "Subject: ". 75 are allowed.
    let room = 39
    var words: [String] = []
    var bytes: [UInt8] = []
    func close() {
      if !bytes.isEmpty { words.append("=?utf-8?B?\(Data(bytes).base64EncodedString())?=") }
      bytes = []
    }
    for scalar in text.unicodeScalars {
      let encoded = Array(String(scalar).utf8)
      if bytes.count + encoded.count > room { close() }
      bytes += encoded
    }
    close()
    return words
  }
}

/// RFC 2045's quoted-printable for text.
enum QuotedPrintable {
  static let longestLine = 76

  /// One line without its end; long lines are broken softly. Neither "From " nor a lone dot can begin a line.
  static func encode(_ line: Substring) -> String {
    let bytes = Array(line.utf8)
    var result = ""
    var column = 0
    for (index, byte) in bytes.enumerated() {
      let isLast = index == bytes.count - 1
      let isBlank = byte == 0x20 || byte == 0x09
      let isLiteral = (byte > 0x20 && byte < 0x7F && byte != UInt8(ascii: "=")) || (isBlank && !isLast)
      let mustHide = column == 0 && (byte == UInt8(ascii: ".") || byte == UInt8(ascii: "F"))
      let piece: String
      if isLiteral, !mustHide {
        piece = String(UnicodeScalar(byte))
      } else {
        let hex = String(byte, radix: 16, uppercase: true)
        piece = "=" + (hex.count == 1 ? "0" : "") + hex
      }
      // The soft break itself takes a column, except before the line's real end.
      if column + piece.utf8.count > (isLast ? longestLine : longestLine - 1) {
        result += "=\r\n"
        column = 0
      }
      result += piece
      column += piece.utf8.count
    }
    return result
  }
}
