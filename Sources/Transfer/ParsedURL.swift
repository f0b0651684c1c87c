internal import CCurl

/// A URL as libcurl itself reads it, so that what is checked and what is contacted cannot differ.
struct ParsedURL {
  /// In lower case.
  var scheme: String
  /// As written in a URL: an IPv6 address stands in brackets.
  var host: String
  /// Nil where the URL gives none.
  var port: UInt16?
  var path: String
  var hasQueryOrFragment: Bool

  /// Nothing of the text appears in the error: a URL may carry what must stay secret.
  enum Refusal: Error {
    case holdsCredentials
    case malformed(String)
  }

  /// - Throws: `Refusal`, also for a URL with a user name or password in it.
  init(_ text: String) throws(Refusal) {
    guard text.utf8.count <= 8_192 else { throw .malformed("it is longer than 8192 bytes") }
    guard text.utf8.allSatisfy({ $0 > 0x20 && $0 != 0x7f }) else {
      throw .malformed("it holds a space, a line break or another control character")
    }
    guard let handle = curl_url() else { throw .malformed("out of memory") }
    defer { curl_url_cleanup(handle) }
    let flags = UInt32(CURLU_NON_SUPPORT_SCHEME)
    // CURLUE_OK; all others mean that the text is no URL.
    let code = curl_url_set(handle, CURLUPART_URL, text, flags)
    guard code == CURLUE_OK else { throw .malformed(String(cString: curl_url_strerror(code))) }
    func part(_ part: CURLUPart) -> String? {
      var value: UnsafeMutablePointer<CChar>?
      guard curl_url_get(handle, part, &value, 0) == CURLUE_OK, let value else { return nil }
      defer { curl_free(value) }
      return String(cString: value)
    }
    guard part(CURLUPART_USER) == nil, part(CURLUPART_PASSWORD) == nil, part(CURLUPART_OPTIONS) == nil else {
      throw .holdsCredentials
    }
    guard let scheme = part(CURLUPART_SCHEME), let host = part(CURLUPART_HOST), !host.isEmpty else {
      throw .malformed("it names no host")
    }
    self.scheme = scheme.lowercased()
    self.host = host
    if let text = part(CURLUPART_PORT) {
      guard let number = UInt16(text), number > 0 else { throw .malformed("its port is not between 1 and 65535") }
      port = number
    }
    path = part(CURLUPART_PATH) ?? "/"
    hasQueryOrFragment = part(CURLUPART_QUERY) != nil || part(CURLUPART_FRAGMENT) != nil
  }
}
