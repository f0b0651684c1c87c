/// The one place where an argument vector becomes text for a shell.
///
/// sshd hands a command to the account's login shell as `<shell> -c LINE`, and that shell may be sh, dash, bash,
/// busybox, csh, tcsh or fish, which disagree about quoting. The line made here is understood alike by all of them:
///
///     exec /bin/sh -c 'SCRIPT' sh 'word' 'word' …
///
/// - SCRIPT is one of a few constant texts. Nothing a person or a target supplied is ever part of it.
/// - Words stand in single quotes. Three characters leave the quotes and stand behind a backslash: `'` (ends the
///   quotes), `!` (history in csh, even quoted) and `\` (an escape inside fish's quotes). `\c` outside quotes means `c`
///   in every one of these shells.
/// - A newline cannot be written alike in sh and csh, so the line never holds one. A mark that occurs in no argument
///   stands for it, and SCRIPT puts newlines that /bin/sh makes itself in the marks' places.
/// - csh refuses words above some kilobytes ("Word too long.") and some thousand words ("Too many arguments."), so long
///   arguments travel in pieces that are neither large nor many.
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
    let mustAssemble = words.contains { $0.utf8.count > pieceLimit || $0.utf8.contains(newline) }
    let mark = mustAssemble ? mark(absentFrom: words) : []
    var line = "exec /bin/sh -c '"
    if mustAssemble { line += assemble }
    if !command.environment.isEmpty {
      let count = command.environment.count
      line += "export"
      for index in 1...count { line += " \"${\(index)}\"" }
      line += "; shift \(count); "
    }
    line += "exec \"$@\"' sh"
    if mustAssemble { line += " " + String(decoding: try quote(bytes: mark), as: UTF8.self) }
    for word in words {
      if mustAssemble {
        for piece in try pieces(of: word, mark: mark) { line += " " + piece }
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

  private static let newline = UInt8(ascii: "\n")

  /// Joins pieces back into arguments, in "$@". The first word is the mark for a newline.
  ///
  /// A piece `+text` has others behind it that belong to the same argument, `.text` is an argument's last.
  /// `$(echo; echo x)` less its x is a newline, made without writing one.
  private static let assemble =
    "_n=$(echo; echo x); _n=${_n%x}; _m=$1; _a=; shift; for _w do shift; _p=; _v=${_w#?}; "
    + "while case $_v in *\"$_m\"*) true;; *) false;; esac; "
    + "do _p=$_p${_v%%\"$_m\"*}$_n; _v=${_v#*\"$_m\"}; done; _a=$_a$_p$_v; "
    + "case $_w in +*) ;; *) set -- \"$@\" \"$_a\"; _a=;; esac; done; "

  /// A text that none of the words holds: the record separator, with a number behind it where that is needed.
  ///
  /// It begins with a character that it does not hold again, so it cannot overlap with its neighbours.
  private static func mark(absentFrom words: [String]) -> [UInt8] {
    let separator: UInt8 = 0x1E
    var isUsed = false
    // Every number that can be read right behind a separator: in one pass, whatever the words hold.
    var numbers: Set<Int> = []
    for word in words {
      var number: Int?
      for byte in word.utf8 {
        if byte == separator {
          isUsed = true
          number = 0
        } else if let value = number, (0x30...0x39).contains(byte), value < 1_000_000, value > 0 || byte != 0x30 {
          number = value * 10 + Int(byte) - 0x30
          numbers.insert(value * 10 + Int(byte) - 0x30)
        } else {
          number = nil
        }
      }
    }
    // Counted from 1: no number begins with a zero.
    return isUsed ? [separator] + Array(String((1...).first { !numbers.contains($0) } ?? 0).utf8) : [separator]
  }

  /// The quoted pieces that `assemble` joins to `word`.
  private static func pieces(of word: String, mark: [UInt8]) throws(RemoteError) -> [String] {
    var result: [String] = []
    var piece: [UInt8] = [UInt8(ascii: "+")]
    for byte in word.utf8 {
      // Never half a character: a shell with a multibyte locale takes a piece for text.
      if piece.count > pieceLimit, byte & 0xC0 != 0x80 {
        result.append(String(decoding: try quote(bytes: piece), as: UTF8.self))
        piece = [UInt8(ascii: "+")]
      }
      if byte == newline { piece += mark } else { piece.append(byte) }
    }
    piece[0] = UInt8(ascii: ".")
    result.append(String(decoding: try quote(bytes: piece), as: UTF8.self))
    return result
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
