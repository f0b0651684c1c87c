internal import Foundation
internal import Glibc

/// Where output goes: a terminal with a width and colours, or a file or pipe.
struct Terminal: Sendable {
  var isTerminal: Bool
  var usesColour: Bool
  var width: Int
  var height = 24

  static func output(_ descriptor: Int32 = STDOUT_FILENO) -> Terminal {
    let isTerminal = isatty(descriptor) == 1
    let environment = ProcessInfo.processInfo.environment
    let refuses = !(environment["NO_COLOR"] ?? "").isEmpty || environment["TERM"] == "dumb"
    var size = winsize()
    let known = isTerminal && ioctl(descriptor, UInt(TIOCGWINSZ), &size) == 0 && size.ws_col > 0
    return Terminal(
      isTerminal: isTerminal, usesColour: isTerminal && !refuses, width: known ? Int(size.ws_col) : 120,
      height: known && size.ws_row > 0 ? Int(size.ws_row) : 24)
  }

  /// Whether the locale's characters are UTF-8: only then other than ASCII ones are drawn.
  static func isUTF8(_ environment: [String: String]) -> Bool {
    // The first that is set decides, as POSIX has it.
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"].lazy.compactMap { environment[$0] }.first { !$0.isEmpty } ?? ""
    let charset = locale.split(separator: ".", maxSplits: 1).last.map { $0.lowercased() } ?? ""
    return charset.hasPrefix("utf-8") || charset.hasPrefix("utf8")
  }

  enum Colour: String, Sendable {
    case red = "31"
    case green = "32"
    case yellow = "33"
    case grey = "90"
    case bold = "1"
  }

  func paint(_ text: String, _ colour: Colour?) -> String {
    guard usesColour, let colour else { return text }
    return "\u{1B}[\(colour.rawValue)m\(text)\u{1B}[0m"
  }

  /// Text from a target or a document, safe to show: control characters are written as `\xNN`, also C1 and DEL.
  static func safe(_ text: String) -> String {
    guard text.unicodeScalars.contains(where: isControl) else { return text }
    var out = ""
    for scalar in text.unicodeScalars {
      if isControl(scalar) {
        let hex = String(scalar.value, radix: 16)
        out += scalar.value < 256 ? "\\x" + (hex.count < 2 ? "0" + hex : hex) : "\\u{\(hex)}"
      } else {
        out.unicodeScalars.append(scalar)
      }
    }
    return out
  }

  private static func isControl(_ scalar: Unicode.Scalar) -> Bool {
    scalar.value < 0x20 || (0x7F...0x9F).contains(scalar.value) || (0x202A...0x202E).contains(scalar.value)
      || (0x2066...0x2069).contains(scalar.value)
  }
}

/// Results go to stdout, messages to stderr.
enum Print {
  static func result(_ text: String) { write(text + "\n", STDOUT_FILENO) }
  static func message(_ text: String) { write(text + "\n", STDERR_FILENO) }
  static func raw(_ bytes: [UInt8], to descriptor: Int32) { write(bytes, descriptor) }

  private static func write(_ text: String, _ descriptor: Int32) { write(Array(text.utf8), descriptor) }

  private static func write(_ bytes: [UInt8], _ descriptor: Int32) {
    bytes.withUnsafeBytes { buffer in
      var rest = buffer[...]
      while !rest.isEmpty {
        let count = Glibc.write(descriptor, UnsafeRawBufferPointer(rebasing: rest).baseAddress, rest.count)
        if count < 0 {
          let reason = errno
          if reason == EINTR { continue }
          guard descriptor == STDOUT_FILENO else { return }
          // The reader went away (a closed pipe): the work is done. Anything else is lost output, and said.
          if reason == EPIPE { _exit(0) }
          write("syscrap: the output could not be written: \(String(cString: strerror(reason)))\n", STDERR_FILENO)
          _exit(1)
        }
        rest = rest.dropFirst(count)
      }
    }
  }
}
