/// One HTTP request. Redirects are not followed, no cookie is kept, nothing is decompressed.
package struct HTTPRequest: Sendable {
  /// The bounds on one request.
  package struct Deadlines: Sendable, Hashable {
    /// From the start of name resolution until connection and TLS stand.
    package var connect: Duration = .seconds(10)
    /// From the call until the last byte, the wait for a free slot included.
    package var total: Duration = .seconds(30)
    package init() {}
  }

  /// A header field; the value may be a secret and appears in no error.
  package struct Header: Sendable {
    package var name: String
    package var value: String
    package init(_ name: String, _ value: String) {
      self.name = name
      self.value = value
    }
  }

  /// An upper-case token such as GET, POST, PUT.
  package var method: String
  /// http or https, without user name and password. Path and query may be secret: only the origin appears in errors.
  package var url: String
  package var headers: [Header] = []
  /// Nil: no body. At most `maximumBytes`.
  package var body: [UInt8]?
  /// PEM file of the authorities to trust instead of the system's.
  package var caFile: String?
  package var deadlines = Deadlines()
  package var addressGuard: AddressGuard?
  /// Bytes of the reply's body that are kept; the rest is cut off and the transfer ended. Default 64 KiB.
  package var replyLimit = HTTPReply.maximumBodyBytes
  /// Path of a unix socket to speak through; the URL's host is then only a name.
  package var unixSocket: String?

  package init(method: String = "GET", url: String, headers: [Header] = [], body: [UInt8]? = nil) {
    self.method = method
    self.url = url
    self.headers = headers
    self.body = body
  }

  package static let maximumBytes = 8 * 1_024 * 1_024
}

extension HTTPRequest {
  /// Scheme, host and port: what may be shown.
  ///
  /// - Throws: `invalidRequest` for a URL that is none, has another scheme, or holds credentials.
  func origin() throws(TransferError) -> String {
    do {
      let url = try ParsedURL(url)
      guard url.scheme == "http" || url.scheme == "https" else {
        throw TransferError(
          .invalidRequest, "the URL's scheme \(PlainText.clean(url.scheme, limit: 32)) is not http or https")
      }
      return "\(url.scheme)://\(url.host)" + (url.port.map { ":\($0)" } ?? "")
    } catch let error as TransferError {
      throw error
    } catch ParsedURL.Refusal.holdsCredentials {
      throw TransferError(
        .invalidRequest, "the URL must hold no user name or password: give them in a header or in a file")
    } catch ParsedURL.Refusal.malformed(let reason) {
      throw TransferError(.invalidRequest, "the URL is malformed: \(reason)")
    } catch {
      throw TransferError(.invalidRequest, "the URL is malformed")
    }
  }

  /// Checks all that would otherwise change the protocol's structure.
  func validate() throws(TransferError) {
    _ = try origin()
    guard (1...16).contains(method.utf8.count), method.utf8.allSatisfy({ (0x41...0x5a).contains($0) }) else {
      throw TransferError(.invalidRequest, "the HTTP method is not a word of capital letters")
    }
    guard headers.count <= 64 else { throw TransferError(.invalidRequest, "there are more than 64 header fields") }
    for header in headers {
      guard !header.name.isEmpty, header.name.utf8.allSatisfy(Self.isToken) else {
        throw TransferError(
          .invalidRequest, "the header field's name \(PlainText.clean(header.name, limit: 64)) is no HTTP token")
      }
      guard header.value.utf8.count <= 8_192,
        header.value.utf8.allSatisfy({ $0 == 9 || ($0 >= 0x20 && $0 != 0x7f) })
      else {
        throw TransferError(
          .invalidRequest, "the value of the header field \(header.name) holds a control character or is too long")
      }
    }
    guard (body?.count ?? 0) <= Self.maximumBytes else {
      throw TransferError(.tooLarge, "the request's body is larger than \(Self.maximumBytes) bytes")
    }
  }

  /// RFC 9110, 5.6.2.
  private static func isToken(_ byte: UInt8) -> Bool {
    switch byte {
    case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
      UInt8(ascii: "0")...UInt8(ascii: "9"):
      true
    default: "!#$%&'*+-.^_`|~".utf8.contains(byte)
    }
  }
}
