internal import Foundation
internal import Remote
internal import TestKit
internal import Testing

/// ``ShellQuoting`` through real shells, started as sshd starts a login shell: `<shell> -c LINE`.
@Suite("Shell quoting")
struct QuotingTests {
  /// Every shell an account may have here. bsd-csh, busybox and fish are packages of their own.
  static let shells: [[String]] = [
    ["/bin/sh"], ["/bin/dash"], ["/bin/bash"], ["busybox", "sh"], ["csh"], ["tcsh"], ["fish"], ["zsh"], ["ksh"],
  ]

  /// Those that must be present in CI; the others are tried where they are installed.
  static let required = ["/bin/sh", "/bin/dash", "/bin/bash", "busybox", "csh"]

  static func isInstalled(_ program: String) -> Bool {
    if program.hasPrefix("/") { return FileManager.default.isExecutableFile(atPath: program) }
    return (ProcessInfo.processInfo.environment["PATH"] ?? "/usr/bin:/bin").split(separator: ":").contains {
      FileManager.default.isExecutableFile(atPath: "\($0)/\(program)")
    }
  }

  /// 500 strings and more: those that break quoting, each alone and among others, and random ones of the same pieces.
  static let table: [String] = {
    var table = [
      "", " ", "  ", "a", "a b", "\t", "\n", "\n\n", "a\n", "\na", "a\nb\n\nc", "\r", "\r\n", "a\rb", "'", "''", "'''",
      "\"",
      "\"\"", "`", "``", "`id`", "$", "$$", "$HOME", "${HOME}", "$(id)", "$((1+1))", "$(echo \"`id`\")", "\\", "\\\\",
      "\\n",
      "\\'", "'\\", "'\\''", "\\\n", "\\\nx", "a\\", "a\\\\", "!", "!!", "!$", "!1", "a!b", "\\!", "'!'", "!\n",
      "^a^b^", "^",
      "~", "~root", "-", "--", "-n", "-e", "-rf", "--help", "-c", "*", "?", "[a-z]", "{a,b}", "{1..3}", "a{", "}", "(",
      ")",
      "()", "<", ">", ">>", "2>&1", "<<EOF", "<(id)", "|", "||", "&", "&&", ";", ";;", "; rm -rf /nonexistent", "#",
      "a#b",
      "# x", "=", "a=b", "A=1", "%", "%s", "%d%n", "%1", "@", "$@", "$*", "$#", "$?", "$-", "$!", "$0", "$1", ":", ".",
      "..",
      ",", "+", "+a", ",a", ".a", "+\n+", ",\n,", ".\n.", "\u{1}", "\u{7}", "\u{8}", "\u{B}", "\u{C}", "\u{1B}[31m",
      "\u{7F}",
      "\u{1E}", "\u{1E}\n", "\n\u{1E}", "\u{1E}0\n1", "\u{1E}\u{1E}1\n\u{1E}", "\u{1E}1\n\u{1E}2\n\u{1E}12\n\u{1E}03",
      "\u{80}", "\u{85}", "\u{A0}", "é", "e\u{301}", "ß", "日本語", "🐟", "👩‍👩‍👧‍👦", "\u{200B}", "\u{2028}", "\u{202E}abc",
      "\u{FEFF}", "\u{FFFD}", "\u{FFFE}", "\u{FFFF}", "\u{10FFFF}", "\u{D7FF}\u{E000}", "‘’“”", "ʼ", "＇", "if", "then",
      "fi",
      "while", "exit", "exec", "eval id", "alias", "history", "repeat 3", "foreach x (a)", "@ x = 1", "set x=1",
      "endif",
      "$argv", "$<", "$?x", "$%x", "\\$HOME", "\\`id\\`", "'$HOME'", "\"$HOME\"", "'\"'\"'", "\"'\"'\"",
      "a'b\"c`d$e\\f!g\nh",
      "_n", "_a", "_w", "${_n}", "x\u{0301}\n\u{0301}", "*)", "esac", ";; *) id",
    ]
    table += ["\n", "'", "!", "\\", "\"", "$", "`", " ", "é"].flatMap { mark in
      [1, 2, 3, 7, 64].map { String(repeating: mark, count: $0) }
    }
    var random = SeededGenerator(seed: SeededGenerator.seed(default: 4711))
    let pieces = table
    while table.count < 520 {
      let count = Int.random(in: 2...6, using: &random)
      table.append((0..<count).map { _ in pieces[Int.random(in: 0..<pieces.count, using: &random)] }.joined())
    }
    return table
  }()

  /// The arguments and the variable V that a program sees when `shell` runs the line of `command`.
  private func seen(_ shell: [String], _ command: Command, in directory: TemporaryDirectory) async throws -> [[UInt8]] {
    let path = directory.file(UUID().uuidString)
    var command = command
    // A shell as the dumper, fed through stdin: the words it has are those exec gave it.
    command.arguments = ["/bin/dash", "-c", "printf '%s\\0' \"$V\" \"$@\" > \"$0\"", path] + command.arguments
    let process = try ManagedProcess(shell + ["-c", try ShellQuoting.line(command)])
    let status = try await process.exit(within: .seconds(60))
    guard status == 0 else {
      throw ManagedProcessError("\(shell): status \(status): \(process.lines.all.prefix(3))")
    }
    let bytes = Array(try Data(contentsOf: URL(fileURLWithPath: path)))
    var result = bytes.split(separator: 0, omittingEmptySubsequences: false).map(Array.init)
    result.removeLast()
    return result
  }

  @Test(
    "the shells that must be tried are installed", .enabled(if: ProcessInfo.processInfo.environment["CI"] == "true"))
  func installed() {
    for shell in Self.required { #expect(Self.isInstalled(shell), "\(shell) is missing") }
  }

  @Test(
    "more than 500 strings reach a program byte for byte through every shell",
    arguments: shells.filter { isInstalled($0[0]) })
  func table(shell: [String]) async throws {
    let directory = try TemporaryDirectory("quoting")
    #expect(Self.table.count >= 500)
    // Batches with newlines are assembled by sh; each string also travels in a batch without any.
    let flat = Self.table.filter { !$0.contains("\n") && !$0.contains("\r\n") }
    for batch in [Array(Self.table[..<260]), Array(Self.table[260...]), flat] {
      let value = batch.last { !$0.isEmpty } ?? ""
      let expected = ([value] + batch).map { Array($0.utf8) }
      let seen = try await seen(shell, Command(batch, environment: ["V": value, "LC_ALL": "C"]), in: directory)
      #expect(seen.count == expected.count)
      for (seen, expected) in zip(seen, expected) where seen != expected {
        Issue.record("\(shell): \(String(decoding: expected, as: UTF8.self).debugDescription) became \(seen)")
      }
    }
    // Alone, for mistakes that a neighbour would hide.
    for string in Self.table[..<60] {
      let seen = try await seen(shell, Command([string], environment: ["V": string]), in: directory)
      #expect(seen == [Array(string.utf8), Array(string.utf8)], "\(shell): \(string.debugDescription)")
    }
  }

  @Test("arguments up to the kernel's limit pass through every shell", arguments: shells.filter { isInstalled($0[0]) })
  func long(shell: [String]) async throws {
    let directory = try TemporaryDirectory("quoting")
    let arguments = [
      String(repeating: "a", count: 120_000), String(repeating: "日本", count: 15_000),
      String(repeating: "it's!\n", count: 8_000), String(repeating: "\n", count: 60_000),
      String(repeating: "a\u{1E}\n\u{1E}0", count: 9_000), String(repeating: "'", count: 20_000),
    ]
    for argument in arguments {
      let seen = try await seen(shell, Command([argument, "end"], environment: [:]), in: directory)
      #expect(seen == [[], Array(argument.utf8), Array("end".utf8)], "\(shell): \(argument.prefix(10))…")
    }
  }

  @Test("the script works under every shell that a system may have as /bin/sh")
  func scripts() async throws {
    let directory = try TemporaryDirectory("quoting")
    let long = String(repeating: "é\n'!\\ ", count: 2_000)
    let arguments = Self.table + [long]
    for shell in ["/bin/dash", "/bin/bash --posix", "/bin/bash", "busybox sh", "ksh", "zsh --emulate sh"]
    where Self.isInstalled(String(shell.prefix { $0 != " " })) {
      let path = directory.file(UUID().uuidString)
      let command = Command(
        ["/bin/dash", "-c", "printf '%s\\0' \"$V\" \"$@\" > \"$0\"", path] + arguments,
        environment: ["V": "a\nb", "W": ""])
      let line = try ShellQuoting.line(command)
      let start = "exec /bin/sh -c "
      #expect(line.hasPrefix(start))
      let process = try ManagedProcess(["/bin/dash", "-c", "exec \(shell) -c " + line.dropFirst(start.count)])
      #expect(try await process.exit() == 0, "\(shell): \(process.lines.all.prefix(3))")
      let bytes = Array(try Data(contentsOf: URL(fileURLWithPath: path)))
      let seen = bytes.split(separator: 0, omittingEmptySubsequences: false).dropLast().map(Array.init)
      #expect(seen == (["a\nb"] + arguments).map { Array($0.utf8) }, "\(shell)")
    }
  }

  @Test("the longest line that is made can be run, and one byte more is refused")
  func limit() async throws {
    let directory = try TemporaryDirectory("quoting")
    func line(_ count: Int) throws -> String {
      try ShellQuoting.line(Command(["/bin/true", String(repeating: "x", count: count)], environment: [:]))
    }
    var (fits, refused) = (100_000, 131_072)
    while refused - fits > 1 {
      let middle = (fits + refused) / 2
      if (try? line(middle)) != nil { fits = middle } else { refused = middle }
    }
    #expect(try line(fits).utf8.count <= ShellQuoting.lineLimit)
    #expect(try line(fits).utf8.count > ShellQuoting.lineLimit - 10)
    #expect(try await ManagedProcess(["/bin/sh", "-c", line(fits)]).exit() == 0)
    #expect(throws: RemoteError.self) { try line(refused) }
    // The kernel's limit is where we say it is: a longer argument cannot be given to any program.
    let tooLong = String(repeating: "x", count: ShellQuoting.lineLimit + 1)
    #expect(throws: ManagedProcessError.self) { try ManagedProcess(["/bin/sh", "-c", tooLong]) }
    _ = directory
  }

  @Test("what cannot be a command is refused with the code for it")
  func refused() {
    let bad: [Command] = [
      Command([]), Command([""]), Command(["-x"]), Command(["a", "b\0c"]), Command(["a\0"]),
      Command(["a"], environment: ["": "1"]), Command(["a"], environment: ["A B": "1"]),
      Command(["a"], environment: ["1A": "1"]), Command(["a"], environment: ["A=B": "1"]),
      Command(["a"], environment: ["A;id": "1"]), Command(["a"], environment: ["É": "1"]),
      Command(["a"], environment: ["A": "x\0y"]), Command(["a"], environment: ["A\n": "x"]),
      Command(["a", String(repeating: "x", count: 1 << 20)]), Command(["a", String(repeating: "'", count: 70_000)]),
      Command(Array(repeating: "x", count: 200_000)),
    ]
    for command in bad {
      #expect("\(command.arguments.first ?? "") \(command.environment.keys)") {
        try ShellQuoting.line(command)
      } throws: { error in
        (error as? RemoteError)?.code == .invalidCommand && (error as? RemoteError)?.phase == .command
      }
    }
    #expect(throws: RemoteError.self) { try ShellQuoting.quote("a\0b") }
  }

  @Test("no line holds a newline or NUL, and the script in it is one of few")
  func shape() throws {
    var scripts: Set<Substring> = []
    for string in Self.table {
      let line = try ShellQuoting.line(Command(["/bin/echo", string], environment: ["A": string]))
      #expect(!line.utf8.contains(10) && !line.utf8.contains(0) && line.hasPrefix("exec /bin/sh -c '"))
      scripts.insert(line.dropFirst(17).prefix { $0 != "'" })
    }
    #expect(scripts.count == 2)
  }

  @Test("one quoted word is one word of a POSIX shell")
  func word() async throws {
    let directory = try TemporaryDirectory("quoting")
    for shell in [["/bin/dash"], ["/bin/bash"]] {
      let path = directory.file(UUID().uuidString)
      let words = try Self.table.map { try ShellQuoting.quote($0) }.joined(separator: " ")
      let script = "printf '%s\\0' \(words) > \(try ShellQuoting.quote(path))"
      #expect(try await ManagedProcess(shell + ["-c", script]).exit() == 0)
      let bytes = Array(try Data(contentsOf: URL(fileURLWithPath: path)))
      #expect(
        bytes.split(separator: 0, omittingEmptySubsequences: false).dropLast().map(Array.init)
          == Self.table.map { Array($0.utf8) })
    }
  }

  @Test("the exit status and a signal are those of the program, not of a shell around it")
  func status() async throws {
    let exit = try ShellQuoting.line(Command(["/bin/sh", "-c", "exit 42"]))
    let signal = try ShellQuoting.line(Command(["/bin/sh", "-c", "kill -TERM $$"]))
    let missing = try ShellQuoting.line(Command(["/nonexistent/program"]))
    for shell in Self.shells where Self.isInstalled(shell[0]) {
      #expect(try await ManagedProcess(shell + ["-c", exit]).exit() == 42, "\(shell)")
      #expect(try await ManagedProcess(shell + ["-c", signal]).exit() == 128 + 15, "\(shell)")
      #expect(try await ManagedProcess(shell + ["-c", missing]).exit() == 127, "\(shell)")
    }
  }
}
