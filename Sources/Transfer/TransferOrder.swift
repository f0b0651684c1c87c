/// What to transfer, and who waits for it.
struct TransferOrder: Sendable {
  enum Work: Sendable {
    case mail(MailTransfer)
    case http(HTTPRequest)
  }

  var id: UInt64
  var work: Work
  var submitted: ContinuousClock.Instant
  /// Where to, as it may be shown.
  var endpoint: String
  var completion: CheckedContinuation<Result<TransferOutcome, TransferError>, Never>

  var connectDeadline: Duration {
    switch work {
    case .mail(let mail): mail.deadlines.connect
    case .http(let request): request.deadlines.connect
    }
  }

  var totalDeadline: Duration {
    switch work {
    case .mail(let mail): mail.deadlines.total
    case .http(let request): request.deadlines.total
    }
  }

  var addressGuard: AddressGuard? {
    switch work {
    case .mail(let mail): mail.addressGuard
    case .http(let request): request.addressGuard
    }
  }

  /// Texts that must not appear in an error; what contains another stands before it.
  var secrets: [String] {
    switch work {
    case .mail(let mail):
      let password = mail.password?.withText { $0 } ?? ""
      guard !password.isEmpty else { return [] }
      return ["\0\(mail.username ?? "")\0\(password)", password].map { Base64.encode(Array($0.utf8)) } + [password]
    case .http(let request):
      // The URL behind its origin, and the values of fields.
      let path = request.url.split(separator: "/", maxSplits: 3, omittingEmptySubsequences: false).dropFirst(3).first
      return ([String(path ?? "")] + request.headers.map(\.value)).filter { $0.utf8.count >= 8 }
    }
  }
}

/// What a transfer can end with when it succeeds.
enum TransferOutcome: Sendable {
  case mail(MailReply)
  case http(HTTPReply)
}

/// Only for finding our own secrets in what a peer says.
enum Base64 {
  /// RFC 4648, section 4, with padding.
  static func encode(_ bytes: [UInt8]) -> String {
    let alphabet = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8)
    var result: [UInt8] = []
    for start in stride(from: 0, to: bytes.count, by: 3) {
      let group = bytes[start..<min(start + 3, bytes.count)]
      let word = group.reduce(0) { $0 << 8 | Int($1) } << (8 * (3 - group.count))
      for index in 0..<4 {
        result.append(index <= group.count ? alphabet[word >> (18 - 6 * index) & 63] : UInt8(ascii: "="))
      }
    }
    return String(decoding: result, as: UTF8.self)
  }
}
