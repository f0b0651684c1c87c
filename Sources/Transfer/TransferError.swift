/// Why a transfer did not succeed: a code to act on, the peer's own reply code, and words for a person.
package struct TransferError: Error, Sendable, Hashable, CustomStringConvertible {
  package enum Code: String, Sendable, Hashable {
    /// The request cannot be expressed or was refused before anything was sent: a line break in an address, a scheme
    /// that is not spoken, a password in a URI.
    case invalidRequest
    /// The host name has no address.
    case resolve
    /// Nobody listens there, or the network does not lead there.
    case connect
    /// The caller's guard refused every address of the host.
    case addressRefused
    /// The TLS handshake failed for another reason than the certificate.
    case tls
    /// The peer's certificate is not trusted, has ended, or is for another host; or the trusted authority's file
    /// cannot be read.
    case certificate
    /// The relay does not offer STARTTLS, or refused it. Nothing was sent in the clear.
    case startTLSNotOffered
    /// The relay refused the credentials, or offers no way to authenticate that we speak.
    case authentication
    case senderRefused
    case recipientRefused
    /// The peer answered with a refusal that is none of the above.
    case rejected
    /// A deadline passed; the message names the phase.
    case timedOut
    /// The peer closed or broke the connection, or spoke another protocol.
    case closed
    /// The caller's task was cancelled.
    case cancelled
    /// The message is larger than the engine's bound.
    case tooLarge
    /// Too many transfers wait already.
    case overloaded
    /// The engine was shut down.
    case shutDown
    /// libcurl failed in a way that has no code here; `rawCode` tells.
    case failed
  }

  package var code: Code
  /// For a person: what happened, where, and what to do where that is known. Holds no secret and no path of a URL.
  package var message: String
  /// The last reply code of the peer (SMTP or HTTP), 0 when it gave none.
  package var responseCode: Int
  /// libcurl's own number, where there is one.
  package var rawCode: Int32?
  /// How long the peer asked to wait.
  package var retryAfter: Duration?
  /// The whole message went out and the connection ended before the relay answered: it may or may not have been taken.
  package var isOutcomeUnknown: Bool
  /// Trying again cannot help: the peer's reply code says so (SMTP 5xx; HTTP 4xx that is not about time or load, and
  /// redirects), or the request itself is invalid.
  package var isPermanent: Bool

  package init(
    _ code: Code, _ message: String, responseCode: Int = 0, rawCode: Int32? = nil, retryAfter: Duration? = nil,
    isOutcomeUnknown: Bool = false, isPermanent: Bool? = nil
  ) {
    self.code = code
    self.message = message
    self.responseCode = responseCode
    self.rawCode = rawCode
    self.retryAfter = retryAfter
    self.isOutcomeUnknown = isOutcomeUnknown
    self.isPermanent = isPermanent ?? (code == .invalidRequest || code == .tooLarge)
  }

  package var description: String {
    responseCode > 0 ? "\(code.rawValue) (\(responseCode)): \(message)" : "\(code.rawValue): \(message)"
  }

  /// Whether an SMTP failure is for good. Only a refusal counts: a 5xx that was overcome earlier in the session (EHLO,
  /// then HELO) says nothing about a connection that broke later.
  static func isPermanent(smtp code: Code, responseCode: Int) -> Bool {
    switch code {
    case .authentication, .senderRefused, .recipientRefused, .rejected: (500..<600).contains(responseCode)
    default: false
    }
  }

  /// Whether an HTTP status is for good: 408, 425 and 429 are about time and load, all other 4xx are not; redirects are
  /// not followed, so the same request meets the same redirect.
  static func isPermanent(httpStatus: Int) -> Bool {
    switch httpStatus {
    case 408, 425, 429: false
    case 300..<500: true
    default: false
    }
  }
}
