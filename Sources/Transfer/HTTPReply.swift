internal import CCurl

/// What an HTTP server answered, whatever the status.
package struct HTTPReply: Sendable {
  package var status: Int
  /// Names in lower case, in the order they came; at most 128 fields and 64 KiB are kept.
  package var headers: [(name: String, value: String)]
  /// At most the request's `replyLimit`.
  package var body: [UInt8]
  /// The body was longer; the connection was closed there.
  package var isTruncated: Bool
  /// How long the server asked to wait, from the Retry-After field.
  package var retryAfter: Duration?

  /// Longer bodies are cut here.
  package static let maximumBodyBytes = 64 * 1_024

  package var isSuccess: Bool { (200..<300).contains(status) }

  /// The first field with this name, case ignored.
  package func header(_ name: String) -> String? {
    let name = name.lowercased()
    return headers.first { $0.name == name }?.value
  }

  /// Itself, if the status is 2xx.
  ///
  /// - Throws: `rejected` with the status, the wish for a pause, and whether that is for good. The body's beginning is
  ///   part of the message, cleaned.
  package func successful() throws(TransferError) -> HTTPReply {
    if isSuccess { return self }
    let excerpt = PlainText.clean(body, limit: 200)
    throw TransferError(
      .rejected, "the server answered with status \(status)" + (excerpt.isEmpty ? "" : ": \(excerpt)"),
      responseCode: status, retryAfter: retryAfter, isPermanent: TransferError.isPermanent(httpStatus: status))
  }

  /// Reads a Retry-After field: seconds, or a date (RFC 9110, 10.2.3).
  ///
  /// - Parameter now: seconds since 1970; what a date is compared with.
  /// - Returns: nil for anything else; zero for a date that has passed. At most one year.
  static func retryAfter(_ text: String, now: Int64) -> Duration? {
    let longest: Int64 = 365 * 86_400
    let text = text.trimmingSpaces()
    if !text.isEmpty, text.utf8.allSatisfy({ (0x30...0x39).contains($0) }) {
      return .seconds(min(Int64(text) ?? longest, longest))
    }
    // Only a field that begins with the name of a day is taken for a date: curl_getdate accepts much else.
    guard text.utf8.count <= 64, let first = text.unicodeScalars.first, ("A"..."Z").contains(first) else { return nil }
    let date = Int64(curl_getdate(text, nil))
    guard date >= 0 else { return nil }
    let (wait, overflow) = date.subtractingReportingOverflow(now)
    return overflow ? nil : .seconds(min(max(wait, 0), longest))
  }
}

extension String {
  func trimmingSpaces() -> String {
    var part = Substring(self)
    while let first = part.first, first == " " || first == "\t" { part.removeFirst() }
    while let last = part.last, last == " " || last == "\t" { part.removeLast() }
    return String(part)
  }
}
