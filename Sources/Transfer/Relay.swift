/// An SMTP server that takes mail from us: where it is and how the way to it is protected.
package struct Relay: Sendable, Hashable, CustomStringConvertible {
  package enum Security: Sendable, Hashable {
    /// The session starts in the clear and must change to TLS before anything else is said; `smtp://`.
    case startTLS
    /// TLS from the first byte; `smtps://`.
    case implicitTLS
    /// No encryption, the password included; only `smtp+plain://` means this.
    case plain
  }

  package var security: Security
  /// As in a URL: an IPv6 address stands in brackets.
  package var host: String
  package var port: UInt16

  /// Reads `smtp://host[:587]`, `smtps://host[:465]` or `smtp+plain://host[:25]`.
  ///
  /// - Throws: `invalidRequest` for anything else, also for a URI with a user name or password in it. The message does
  ///   not repeat the text.
  package init(_ text: String) throws(TransferError) {
    let url: ParsedURL
    do {
      url = try ParsedURL(text)
    } catch {
      switch error {
      case .holdsCredentials:
        throw TransferError(
          .invalidRequest, "the relay's URI must hold no user name or password: give username and password_file")
      case .malformed(let reason):
        throw TransferError(.invalidRequest, "the relay is not a URI such as smtp://mail.example.org:587: \(reason)")
      }
    }
    let defaultPort: UInt16
    switch url.scheme {
    case "smtp": (security, defaultPort) = (.startTLS, 587)
    case "smtps": (security, defaultPort) = (.implicitTLS, 465)
    case "smtp+plain": (security, defaultPort) = (.plain, 25)
    default:
      throw TransferError(
        .invalidRequest,
        "the relay's scheme \(PlainText.clean(url.scheme, limit: 32)) is unknown: use smtp (STARTTLS is required), "
          + "smtps, or smtp+plain for a relay without encryption")
    }
    guard url.path == "/" || url.path.isEmpty, !url.hasQueryOrFragment else {
      throw TransferError(.invalidRequest, "the relay's URI must end after the port")
    }
    host = url.host
    port = url.port ?? defaultPort
  }

  package var description: String {
    switch security {
    case .startTLS: "smtp://\(host):\(port)"
    case .implicitTLS: "smtps://\(host):\(port)"
    case .plain: "smtp+plain://\(host):\(port)"
    }
  }

  /// What libcurl is given. The path is the name that we greet the relay with.
  func url(clientName: String) -> String {
    "\(security == .implicitTLS ? "smtps" : "smtp")://\(host):\(port)/\(clientName)"
  }
}
