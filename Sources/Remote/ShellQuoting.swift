/// The one place where an argument vector becomes text for a shell.
///
/// sshd hands a command to the account's login shell as `<shell> -c LINE`, and that shell may be sh, dash, bash, busybox,
/// csh, tcsh or fish, which disagree about quoting. The line made here is understood alike by all of them:
///
///     exec /bin/sh -c 'SCRIPT' sh 'word' 'word' …
///
/// - SCRIPT is one of a few constant texts. Nothing a person or a target supplied is ever part of it.
/// - Words stand in single quotes. Three characters leave the quotes and stand behind a backslash: `'` (ends the
///   quotes), `!` (history in csh, even quoted) and `\` (an escape inside fish's quotes). `\c` outside quotes means `c`
///   in every one of these shells.
/// - A newline cannot be written alike in sh and csh, so the line never holds one. An argument with newlines travels
///   as several words, and SCRIPT puts them together with newlines that /bin/sh makes itself.
/// - csh refuses words above some kilobytes ("Word too long."), so long arguments travel in pieces as well.
///
/// BSD csh alone also limits the number of words (some 1 700: "Too many arguments."): there an argument of more lines
/// than that fails, with this message. Such texts are better sent through stdin.
///
/// The login shell and sh both replace themselves (`exec`), so signals and the exit status are those of the program.
package enum ShellQuoting {
  /// Most bytes of one line: Linux refuses a single exec argument of 128 KiB including its NUL (MAX_ARG_STRLEN), and
  /// the line is one argument of the login shell. Longer lines are refused here, where the reason can be given.
  package static let lineLimit = 131_071

  /// Most bytes of a word before quoting; beyond it an argument is cut into pieces. Quoting at most triples it, which
  /// stays below the word limit of csh (8 KiB where measured, 1 KiB in very old ones for ordinary text).
  static let pieceLimit = 1000

  /// The shell line that runs `command` with exactly its arguments and environment.
  ///
  /// - Throws: `.invalidCommand` when there is no program, the program's name begins with `-`, an argument or value
  ///   holds a NUL byte, a variable's name is not `[A-Za-z_][A-Za-z0-9_]*`, or the line would exceed ``lineLimit``.
  package static func line(_ command: Command) throws(RemoteError) -> String {
    guard let program = command.arguments.first, !program.isEmpty else {
      throw invalid("The command names no program.")
    }
    guard program.utf8.first != UInt8(ascii: "-") else {
      throw invalid("The program's name begins with '-', which exec would take for an option. Give its path instead.")
    }
    var words: [String] = []
    words.reserveCapacity(command.environment.count + command.arguments.count)
    for (name, value) in command.environment.sorted(by: { $0.key < $1.key }) {
      guard isVariableName(name) else {
        throw invalid("\(printable(name)) is not a variable's name: letters, digits and _, no digit first.")
      }
      words.append("\(name)=\(value)")
    }
    words.append(contentsOf: command.arguments)

    var size = 0
    for word in words {
      size += word.utf8.count
      guard size <= lineLimit else { throw tooLong() }
    }
    let mustAssemble = words.contains { $0.utf8.count > pieceLimit || $0.utf8.contains(UInt8(ascii: "\n")) }
    var line = "exec /bin/sh -c '"
    if mustAssemble { line += assemble }
    if !command.environment.isEmpty {
      let count = command.environment.count
      line += "export"
      for index in 1...count { line += " \"${\(index)}\"" }
      line += "; shift \(count); "
    }
    line += "exec \"$@\"' sh"
    for word in words {
      if mustAssemble {
        for piece in try pieces(of: word) { line += " " + piece }
      } else {
        line += " " + (try quote(word))
      }
    }
    guard line.utf8.count <= lineLimit else { throw tooLong() }
    return line
  }

  /// One word for a POSIX shell, in single quotes.
  ///
  /// Without a newline in it the word is also good for csh, tcsh and fish. For a whole command use ``line(_:)``.
  /// - Throws: `.invalidCommand` when the string holds a NUL byte.
  package static func quote(_ string: String) throws(RemoteError) -> String {
    String(decoding: try quote(bytes: string.utf8), as: UTF8.self)
  }

  /// Joins words that begin with a mark back into arguments, in "$@".
  ///
  /// `+text` adds text to the argument at hand, `,text` a newline and text, `.text` text and ends the argument.
  /// `$(echo; echo x)` less its x is a newline, made without writing one.
  private static let assemble =
    "_n=$(echo; echo x); _n=${_n%x}; _a=; for _w do shift; case $_w in "
    + "+*) _a=$_a${_w#+};; ,*) _a=$_a$_n${_w#,};; *) set -- \"$@\" \"$_a${_w#.}\"; _a=;; esac; done; "

  /// The quoted, marked words that `assemble` joins to `word`.
  private static func pieces(of word: String) throws(RemoteError) -> [String] {
    var result: [String] = []
    let lines = word.utf8.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false)
    for (number, line) in lines.enumerated() {
      var mark = number == 0 ? UInt8(ascii: "+") : UInt8(ascii: ",")
      var rest = line[...]
      repeat {
        let piece = rest.prefix(scalarBoundary(rest))
        result.append(String(decoding: try quote(bytes: [mark] + piece), as: UTF8.self))
        rest = rest.dropFirst(piece.count)
        mark = UInt8(ascii: "+")
      } while !rest.isEmpty
    }
    result.append("'.'")
    return result
  }

  /// How many of the bytes make the next piece: at most ``pieceLimit``, never half a character.
  private static func scalarBoundary(_ bytes: Substring.UTF8View) -> Int {
    var count = 0
    var end = 0
    for byte in bytes {
      if byte & 0xC0 != 0x80 { end = count }
      if count == pieceLimit { return end }
      count += 1
    }
    return count
  }

  private static func quote(bytes: some Sequence<UInt8>) throws(RemoteError) -> [UInt8] {
    var result: [UInt8] = []
    var isOpen = false
    for byte in bytes {
      switch byte {
      case 0:
        throw invalid("An argument holds a NUL byte, which no program can be given.")
      case UInt8(ascii: "'"), UInt8(ascii: "!"), UInt8(ascii: "\\"):
        if isOpen { result.append(UInt8(ascii: "'")) }
        isOpen = false
        result.append(UInt8(ascii: "\\"))
        result.append(byte)
      default:
        if !isOpen { result.append(UInt8(ascii: "'")) }
        isOpen = true
        result.append(byte)
      }
    }
    if isOpen { result.append(UInt8(ascii: "'")) }
    return result.isEmpty ? [UInt8(ascii: "'"), UInt8(ascii: "'")] : result
  }

  private static func isVariableName(_ name: String) -> Bool {
    guard let first = name.utf8.first else { return false }
    let isLetter: (UInt8) -> Bool = { (0x41...0x5A).contains($0) || (0x61...0x7A).contains($0) || $0 == 0x5F }
    return isLetter(first) && name.utf8.allSatisfy { isLetter($0) || (0x30...0x39).contains($0) }
  }

  /// A name for an error message: short, and without control characters.
  private static func printable(_ name: String) -> String {
    "\"" + String(name.prefix(40).map { $0.isASCII && ($0.asciiValue ?? 0) >= 0x20 && $0 != "\u{7F}" ? $0 : "?" })
      + "\""
  }

  private static func tooLong() -> RemoteError {
    invalid(
      "The command is longer than \(lineLimit) bytes once quoted, more than a login shell can be given. "
        + "Send the bulk through stdin.")
  }

  private static func invalid(_ message: String) -> RemoteError {
    RemoteError(.invalidCommand, phase: .command, message)
  }
}
