/// A password or token. It never appears in a description, a dump or an interpolation.
package struct Secret: Sendable, CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable {
  private let bytes: [UInt8]

  package init(_ bytes: [UInt8]) { self.bytes = bytes }
  package init(_ text: String) { bytes = Array(text.utf8) }

  package var description: String { "[secret]" }
  package var debugDescription: String { "[secret]" }
  package var customMirror: Mirror { Mirror(self, children: []) }

  /// The bytes, for the one who has to show them to a peer. Not to be kept, logged or put into an error.
  package func reveal() -> [UInt8] { bytes }

  /// A C string cannot carry a NUL byte: such a secret would be cut short in silence.
  var holdsNUL: Bool { bytes.contains(0) }

  /// The text for libcurl. Not to be kept.
  func withText<Result>(_ body: (String) -> Result) -> Result {
    body(String(decoding: bytes, as: UTF8.self))
  }
}
