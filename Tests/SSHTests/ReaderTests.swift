import Foundation
import Glibc
import Logging
import Remote
import TestKit
import Testing

@testable import SSH

@Suite("The resident reader's text")
struct ReaderTextTests {
  private static let stat = ResidentReader.File(path: "/proc/stat", limit: 100)
  private static let load = ResidentReader.File(path: "/proc/loadavg", limit: 5)

  /// What a reader delivers from this text, cut into pieces of `size` bytes.
  private func replies(
    _ reader: inout ResidentReader, _ text: [UInt8], pieces size: Int = .max
  ) throws -> [ResidentReader.Reply] {
    var replies: [ResidentReader.Reply] = []
    var rest = text[...]
    while !rest.isEmpty {
      let piece = Array(rest.prefix(size))
      rest = rest.dropFirst(size)
      try piece.withUnsafeBytes { bytes in try reader.receive(bytes) { replies.append($0) } }
    }
    return replies
  }

  private func answers(_ reply: ResidentReader.Reply?) -> [Answer]? {
    guard case .answers(let answers)? = reply else { return nil }
    return answers
  }

  @Test("A set is told once and asked for by its number; another one gets the next")
  func requests() throws {
    var reader = ResidentReader()
    _ = try replies(&reader, Array("syscrap-reader 1 perl\n".utf8))
    var bytes: [UInt8] = []
    reader.request([Self.stat, Self.load], to: &bytes)
    #expect(String(decoding: bytes, as: UTF8.self) == "-0\n+0 100 /proc/stat\n+0 5 /proc/loadavg\n0\n")
    bytes = []
    reader.request([Self.stat, Self.load], to: &bytes)
    #expect(String(decoding: bytes, as: UTF8.self) == "0\n")
    bytes = []
    reader.request([Self.load], to: &bytes)
    #expect(String(decoding: bytes, as: UTF8.self) == "-1\n+1 5 /proc/loadavg\n1\n")
    #expect(reader.pendingCount == 3)
  }

  @Test("More sets than the host is asked to keep begin anew")
  func manySets() throws {
    var reader = ResidentReader()
    _ = try replies(&reader, Array("syscrap-reader 1 perl\n".utf8))
    var bytes: [UInt8] = []
    for number in 0..<65 { reader.request([.init(path: "/f\(number)", limit: 1)], to: &bytes) }
    let text = String(decoding: bytes, as: UTF8.self)
    #expect(text.contains("-63\n+63 1 /f63\n63\n"))
    #expect(text.hasSuffix("-0\n+0 1 /f64\n0\n"))
  }

  @Test("What start-up files print before the greeting is passed over; a flood of it is not", arguments: [1, 7, 4096])
  func greeting(pieces: Int) throws {
    var reader = ResidentReader()
    _ = try replies(&reader, Array("Welcome!\n\nsyscrap-reader\n$ syscrap-reader 1 awk\n".utf8), pieces: pieces)
    #expect(reader.kind == .awk)
    var flooded = ResidentReader()
    #expect(throws: RemoteError.self) {
      _ = try replies(&flooded, Array(repeating: UInt8(ascii: "x"), count: 20_000), pieces: pieces)
    }
    var lines = ResidentReader()
    #expect(throws: RemoteError.self) {
      _ = try replies(&lines, Array(repeating: 10, count: 20_000), pieces: pieces)
    }
    var newer = ResidentReader()
    #expect(throws: RemoteError.self) { _ = try replies(&newer, Array("syscrap-reader 2 perl\n".utf8)) }
  }

  @Test("Answers with lengths, in whatever pieces they come", arguments: [1, 2, 3, 10, 1000])
  func measured(pieces: Int) throws {
    var reader = ResidentReader()
    _ = try replies(&reader, Array("syscrap-reader 1 perl\n".utf8))
    var bytes: [UInt8] = []
    reader.request([Self.stat, Self.load, .init(path: "/no", limit: 9)], to: &bytes)
    reader.request([Self.load], to: &bytes)
    let found = try replies(
      &reader, Array("0 4 6 -1\na\n\0b0.5 12!3 2 - 3 1 0\nabce!4 - 15 0 0 1\n1 0\n".utf8), pieces: pieces)
    #expect(found.count == 4)
    let first = try #require(answers(found.first))
    #expect(first[0] == .content([97, 10, 0, 98], isTruncated: false))
    #expect(first[1] == .content(Array("0.5 1".utf8), isTruncated: true))
    guard case .failed(let missing) = first[2] else { throw Unexpected(description: "\(first[2])") }
    #expect(missing.message == "/no: there is no such file.")
    guard case .command(3, .success(let ended)) = found[1], case .command(4, .success(let signalled)) = found[2] else {
      throw Unexpected(description: "\(found)")
    }
    #expect(ended == CommandResult(status: 2, output: Array("abc".utf8), errors: Array("e".utf8)))
    #expect(signalled == CommandResult(status: nil, signal: "TERM", isTruncated: true))
    #expect(answers(found[3]) == [.content([], isTruncated: false)])
    #expect(reader.pendingCount == 0)
  }

  @Test("Answers with a boundary, in whatever pieces they come", arguments: [1, 2, 33, 1000])
  func bounded(pieces: Int) throws {
    var reader = ResidentReader()
    _ = try replies(&reader, Array("syscrap-reader 1 sh\n".utf8))
    var bytes: [UInt8] = []
    reader.request([Self.stat, Self.load, Self.stat], to: &bytes)
    reader.request([Self.load], to: &bytes)
    let mark = String(decoding: reader.boundary, as: UTF8.self)
    let found = try replies(
      &reader, Array("a\n\n\(mark) 0\n0.5 12\n\(mark) 0\n\n\(mark) 2\n\n\(mark) 6\n".utf8), pieces: pieces)
    #expect(found.count == 2)
    let first = try #require(answers(found.first))
    #expect(first[0] == .content([97, 10], isTruncated: false))
    #expect(first[1] == .content(Array("0.5 1".utf8), isTruncated: true))
    guard case .failed(let denied) = first[2], case .failed(let listed)? = answers(found[1])?.first else {
      throw Unexpected(description: "\(found)")
    }
    #expect(denied.message == "/proc/stat: we may not read it.")
    #expect(listed.code == .refusedByPolicy)
  }

  @Test("Lengths that cannot be, answers to nothing and headers without an end are refused")
  func hostile() throws {
    for text in [
      "1 4\nabcd", "0 101\n", "0 102\nx", "0 4 4\nabcdabcd", "0\n", "x\n", "0 99999999999\n", "!1 0 - 4\n",
      "!1 0 - -1 0 0\n", "!x 0 - 0 0 0\n", "!1 0 - 99999999 0 0\n", String(repeating: "1 ", count: 1100),
    ] {
      var reader = ResidentReader()
      _ = try replies(&reader, Array("syscrap-reader 1 perl\n".utf8))
      var bytes: [UInt8] = []
      reader.request([Self.stat], to: &bytes)
      if text == "0 101\n" {
        // One byte more than the limit is how a cut file is told; the content has not come yet.
        #expect(try replies(&reader, Array(text.utf8)).isEmpty)
      } else {
        #expect(throws: RemoteError.self, "\(text.prefix(40))") { _ = try replies(&reader, Array(text.utf8)) }
      }
    }
  }

  @Test("Any bytes in any pieces: no trap, and no answer that was not asked for")
  func fuzz() throws {
    let seed =
      ProcessInfo.processInfo.environment["SYSCRAP_SEED"].flatMap { UInt64($0) } ?? UInt64.random(in: 1...(.max))
    print("reader fuzz: SYSCRAP_SEED=\(seed)")
    var state = seed | 1
    func random(_ bound: Int) -> Int {
      state ^= state << 13
      state ^= state >> 7
      state ^= state << 17
      return Int(truncatingIfNeeded: state >> 1) % max(1, bound)
    }
    let isLong = ProcessInfo.processInfo.environment["SYSCRAP_LONG"] == "1"
    let end = Date().addingTimeInterval(isLong ? 600 : 4)
    let alphabet = Array("0123456789 -!\n\n+~abcf\0".utf8) + [255]
    var rounds = 0
    while Date() < end {
      rounds += 1
      var reader = ResidentReader()
      let kind = ResidentReader.Kind.allCases[random(5)]
      var text = random(4) == 0 ? [] : Array("syscrap-reader 1 \(kind.rawValue)\n".utf8)
      let asked = random(4)
      var bytes: [UInt8] = []
      for _ in 0..<asked {
        reader.request(random(2) == 0 ? [Self.stat, Self.load] : [Self.load, Self.stat], to: &bytes)
      }
      for _ in 0..<random(12) {
        switch random(5) {
        case 0: text += "0 \(random(120) - 8) \(random(9) - 2)\n".utf8
        case 1: text += "!\(random(9)) \(random(300)) - \(random(20)) \(random(20)) \(random(8))\n".utf8
        case 2: text += [10] + reader.boundary + Array(" \(random(9))\n".utf8)
        default: for _ in 0..<random(40) { text.append(alphabet[random(alphabet.count)]) }
        }
      }
      var delivered = 0
      do {
        var rest = text[...]
        while !rest.isEmpty {
          let size = 1 + random(50)
          let piece = Array(rest.prefix(size))
          rest = rest.dropFirst(size)
          try piece.withUnsafeBytes { bytes in
            try reader.receive(bytes) {
              guard case .answers(let answers) = $0 else { return }
              delivered += 1
              if answers.count != 2 { Issue.record("\(answers.count) answers for two files") }
            }
          }
        }
      } catch {
        #expect(error is RemoteError)
      }
      if delivered > asked { Issue.record("\(delivered) answers to \(asked) requests") }
    }
    #expect(rounds > 100)
  }
}

@Suite(
  "The resident reader over a real sshd", .serialized, .enabled(if: SSHServer.isAvailable, "openssh-server is missing"))
struct ReaderTests {
  private static let files = ["/proc/stat", "/proc/meminfo", "/proc/loadavg", "/proc/uptime", "/proc/version"]

  private static func configuration(_ kinds: [ResidentReader.Kind]) -> SSHConfiguration {
    var configuration = SSHConfiguration()
    configuration.readers = kinds
    return configuration
  }

  private static func sessions(_ harness: Harness) -> Int {
    harness.server.log.all.count { $0.contains("Starting session: ") }
  }

  @Test(
    "Every kind passes files whole, tells missing ones, cuts at the limit, and needs one channel for all polls",
    arguments: [ResidentReader.Kind.perl, .awk, .bash, .sh])
  func kinds(kind: ResidentReader.Kind) async throws {
    try await Harness.with(options: ["LogLevel DEBUG1"]) { harness in
      try await harness.connected(configuration: Self.configuration([kind])) { connection in
        let version = try Array(Data(contentsOf: URL(fileURLWithPath: "/proc/version")))
        for round in 0..<20 {
          let answers = try await connection.ask(
            Self.files.map { .read(path: $0) } + [
              .read(path: "/proc/no/such"), .read(path: "/proc/version", limit: 10),
              .read(path: "/proc/version", limit: version.count),
            ])
          for (path, answer) in zip(Self.files, answers) {
            guard case .content(let bytes, false) = answer, bytes.last == 10 else {
              throw Unexpected(description: "\(path) in round \(round): \(answer)")
            }
          }
          #expect(answers[4] == .content(version, isTruncated: false))
          guard case .failed = answers[5] else { throw Unexpected(description: "\(answers[5])") }
          #expect(answers[6] == .content(Array(version.prefix(10)), isTruncated: true))
          #expect(answers[7] == .content(version, isTruncated: false))
        }
        #expect(await connection.facts.reader == kind.rawValue)
      }
      #expect(Self.sessions(harness) == 1)
    }
  }

  @Test("Commands run beside the files, with status, signal, both outputs, limits and deadline, in no further channel")
  func commands() async throws {
    try await Harness.with(options: ["LogLevel DEBUG1", "MaxSessions 1"]) { harness in
      try await harness.connected { connection in
        _ = try await connection.ask([.read(path: "/proc/uptime")])
        let script = { (text: String) in Command(["/bin/sh", "-c", text]) }
        let both = try await connection.run(script("echo out; echo bad >&2; exit 3"))
        #expect(both == CommandResult(status: 3, output: Array("out\n".utf8), errors: Array("bad\n".utf8)))
        #expect(try await connection.run(script("kill -TERM $$")).signal == "TERM")
        #expect(try await connection.run(Command(["/no/such/program"])).status == 127)
        let cut = try await connection.run(Command(["yes"], outputLimit: 5000))
        #expect(cut.isTruncated && cut.output.count == 5000)
        let binary = try await connection.run(script(#"printf '\000\377\n'; printf '\001' >&2"#))
        #expect(binary.output == [0, 255, 10] && binary.errors == [1])
        let late = await failure { try await connection.run(Command(["sleep", "60"], deadline: .milliseconds(300))) }
        #expect(late?.code == .timedOut && late?.phase == .command)
        let environment = try await connection.run(Command(["sh", "-c", "echo $A-$LC_ALL"], environment: ["A": "b c"]))
        #expect(environment.output == Array("b c-\n".utf8))
        let answers = try await connection.ask([.run(script("sleep 1; echo late")), .read(path: "/proc/uptime")])
        guard case .result(let result) = answers[0], case .content = answers[1] else {
          throw Unexpected(description: "\(answers)")
        }
        #expect(result.output == Array("late\n".utf8))
      }
      #expect(Self.sessions(harness) == 1)
    }
  }

  @Test(
    "Commands beyond the bound wait for their turn in the reader, and those that came before it are run by it",
    arguments: [1, 2, 4])
  func manyCommands(channels: Int) async throws {
    try await Harness.with(options: ["LogLevel DEBUG1", "MaxSessions \(channels)"]) { harness in
      try await harness.connected(channels: channels) { connection in
        if channels > 1 { _ = try await connection.ask([.read(path: "/proc/uptime")]) }
        for _ in 0..<3 {
          let answers = try await connection.ask(
            [.read(path: "/proc/uptime")] + (0..<8).map { .run(Command(["echo", "\($0)"])) })
          for (number, answer) in answers.dropFirst().enumerated() {
            #expect(answer == .result(CommandResult(status: 0, output: Array("\(number)\n".utf8))))
          }
          try await withThrowingTaskGroup(of: Void.self) { group in
            for number in 0..<8 {
              group.addTask {
                let result = try await connection.run(Command(["sh", "-c", "sleep 0.0\(number); echo \(number)"]))
                #expect(result.output == Array("\(number)\n".utf8))
              }
            }
            try await group.waitForAll()
          }
        }
      }
      #expect(Self.sessions(harness) == 1)
    }
  }

  @Test("With one session allowed a reader that cannot run commands makes room for them, and comes back")
  func oneSession() async throws {
    try await Harness.with(options: ["LogLevel DEBUG1", "MaxSessions 1"]) { harness in
      for channels in [1, 4] {
        try await harness.connected(channels: channels, configuration: Self.configuration([.awk])) { connection in
          for _ in 0..<3 {
            guard case .content = try await connection.ask([.read(path: "/proc/uptime")])[0] else {
              throw Unexpected(description: "no content")
            }
            #expect(try await connection.run(Command(["echo", "hi"])).output == Array("hi\n".utf8))
          }
          let answers = try await connection.ask([.run(Command(["echo", "x"])), .read(path: "/proc/uptime")])
          guard case .result = answers[0], case .content = answers[1] else {
            throw Unexpected(description: "\(answers)")
          }
        }
      }
      #expect(harness.server.acceptedCount == 2)
    }
  }

  @Test("A file that hangs costs its own answer only: the reader is replaced and the rest is read")
  func hungFile() async throws {
    try await Harness.with { harness in
      // Opening a pipe that nobody writes to hangs; as a kind that does not look at what a file is, awk opens it.
      var configuration = Self.configuration([.perl])
      configuration.readerPatience = .milliseconds(500)
      configuration.scriptDeadline = .seconds(3)
      try await harness.connected(configuration: configuration) { connection in
        _ = try await connection.ask([.read(path: "/proc/uptime")])
        // The reader stands still as behind a dead NFS server.
        let reader = try #require(Self.readers(of: harness).first)
        kill(reader, SIGSTOP)
        let answers = try await connection.ask([.read(path: "/proc/uptime"), .read(path: "/proc/loadavg")])
        for answer in answers {
          guard case .content = answer else { throw Unexpected(description: "\(answer)") }
        }
        kill(reader, SIGCONT)
        guard case .content = try await connection.ask([.read(path: "/proc/version")])[0] else {
          throw Unexpected(description: "nothing after the reader was replaced")
        }
      }
    }
  }

  @Test("A reader that is killed is replaced, its command fails and may not be repeated, its questions are")
  func killed() async throws {
    try await Harness.with { harness in
      try await harness.connected { connection in
        _ = try await connection.ask([.read(path: "/proc/uptime")])
        let first = try #require(Self.readers(of: harness).first)
        async let lost = failure { try await connection.run(Command(["sleep", "30"])) }
        try await Task.sleep(for: .milliseconds(300))
        kill(first, SIGKILL)
        #expect(await lost?.code == .lost)
        guard case .content = try await connection.ask([.read(path: "/proc/uptime")])[0] else {
          throw Unexpected(description: "no content")
        }
        let second = try #require(Self.readers(of: harness).first)
        #expect(second != first)
      }
    }
  }

  @Test("The reader and its commands end with the connection, whichever side ends it")
  func leavesNothing() async throws {
    try await Harness.with { harness in
      for isBroken in [false, true] {
        let connection = try await harness.connector().connection()
        _ = try await connection.ask([.read(path: "/proc/uptime")])
        async let lost = failure { try await connection.run(Command(["sleep", "31.5"])) }
        try await Task.sleep(for: .milliseconds(300))
        let reader = try #require(Self.readers(of: harness).first)
        let processes = [reader] + Self.children(of: reader)
        #expect(processes.count > 1)
        if isBroken { _ = await harness.server.killSessions() } else { await connection.close() }
        #expect(await lost != nil)
        await connection.close()
        let end = Date().addingTimeInterval(10)
        while processes.contains(where: { kill($0, 0) == 0 }), Date() < end {
          try await Task.sleep(for: .milliseconds(50))
        }
        #expect(processes.filter { kill($0, 0) == 0 } == [])
      }
    }
  }

  @Test("A host whose interpreters do not work is read by a script")
  func fallback() async throws {
    try await Harness.with(options: [
      "ForceCommand case $SSH_ORIGINAL_COMMAND in *syscrap-reader*) exit 1;; *) eval \"$SSH_ORIGINAL_COMMAND\";; esac"
    ]) {
      harness in
      try await harness.connected { connection in
        for _ in 0..<3 {
          guard case .content(let bytes, false) = try await connection.ask([.read(path: "/proc/uptime")])[0] else {
            throw Unexpected(description: "no content")
          }
          #expect(bytes.last == 10)
        }
        #expect(await connection.facts.reader == "")
        #expect(try await connection.run(Command(["echo", "hi"])).output == Array("hi\n".utf8))
      }
    }
  }

  @Test("A hundred questions at once are answered each with its own")
  func manyAtOnce() async throws {
    try await Harness.with { harness in
      let directory = harness.server.directory
      for number in 0..<20 {
        _ = try directory.write("f\(number)", String(repeating: "\(number),", count: 50 * number))
      }
      try await harness.connected { connection in
        try await withThrowingTaskGroup(of: Void.self) { group in
          for number in 0..<100 {
            group.addTask {
              let which = number % 20
              let answers = try await connection.ask([.read(path: directory.file("f\(which)")), .read(path: "/no")])
              #expect(
                answers[0]
                  == .content(Array(String(repeating: "\(which),", count: 50 * which).utf8), isTruncated: false))
            }
          }
          try await group.waitForAll()
        }
      }
    }
  }

  @Test("A question that is cancelled leaves the others their answers")
  func cancelled() async throws {
    try await Harness.with { harness in
      try await harness.connected { connection in
        _ = try await connection.ask([.read(path: "/proc/uptime")])
        for _ in 0..<50 {
          let asking = Task { try await connection.ask([.read(path: "/proc/stat"), .run(Command(["sleep", "5"]))]) }
          async let other = connection.ask([.read(path: "/proc/version")])
          asking.cancel()
          _ = try? await asking.value
          guard case .content(let bytes, _) = try await other[0] else { throw Unexpected(description: "no content") }
          #expect(String(decoding: bytes, as: UTF8.self).hasPrefix("Linux version"))
        }
      }
    }
  }

  /// Processes below the server that call themselves our reader.
  private static func readers(of harness: Harness) -> [Int32] {
    processes().filter { command(of: $0).hasPrefix("syscrap reader") && isBelow($0, harness) }
  }

  private static func children(of process: Int32) -> [Int32] { processes().filter { parent(of: $0) == process } }

  private static func isBelow(_ process: Int32, _ harness: Harness) -> Bool {
    var current = process
    for _ in 0..<20 {
      guard let next = parent(of: current), next > 1 else { return false }
      if command(of: next).contains(harness.server.directory.path) { return true }
      current = next
    }
    return false
  }

  private static func processes() -> [Int32] {
    ((try? FileManager.default.contentsOfDirectory(atPath: "/proc")) ?? []).compactMap { Int32($0) }
  }

  private static func parent(of process: Int32) -> Int32? {
    guard let text = try? String(contentsOfFile: "/proc/\(process)/stat", encoding: .utf8),
      let end = text.lastIndex(of: ")")
    else { return nil }
    let words = text[text.index(after: end)...].split(separator: " ")
    return words.count > 1 ? Int32(words[1]) : nil
  }

  private static func command(of process: Int32) -> String {
    ((try? String(contentsOfFile: "/proc/\(process)/cmdline", encoding: .utf8)) ?? "")
      .replacingOccurrences(of: "\0", with: " ")
  }
}

@Suite("A small device", .serialized, .enabled(if: DropbearServer.isAvailable, "needs root, dropbear-bin and busybox"))
struct SmallDeviceTests {
  @Test("Dropbear with BusyBox behind it: files and commands, questions at once, over one login, one channel at a time")
  func device() async throws {
    let group = try EventLoopGroup()
    do {
      try await DropbearServer.with { server in
        let connector = SSHConnector(
          host: "127.0.0.1", port: Int(server.port), user: server.user, credentials: [.keyFile(server.clientKey)],
          hostKeys: HostKeyPolicy(mode: .strict, knownHosts: [server.knownHosts], pin: nil), group: group,
          metrics: SSHMetrics(), logger: Logger(label: "test"))
        let connection = try await connector.connection()
        #expect(await connection.facts.serverBanner.contains("dropbear"))
        for _ in 0..<10 {
          async let asked = connection.ask([
            .read(path: "/proc/stat"), .read(path: "/proc/meminfo"), .read(path: "/etc/passwd"), .read(path: "/no"),
            .run(Command(["ls", "/bin/busybox"])),
          ])
          async let other = connection.ask([.read(path: "/proc/uptime")])
          async let command = connection.run(Command(["echo", "hi"]))
          let answers = try await asked
          for answer in answers.prefix(3) {
            guard case .content(let bytes, false) = answer, bytes.last == 10 else {
              throw Unexpected(description: "\(answer)")
            }
          }
          guard case .failed = answers[3], case .result(let table) = answers[4] else {
            throw Unexpected(description: "\(answers)")
          }
          #expect(table == CommandResult(status: 0, output: Array("/bin/busybox\n".utf8)))
          guard case .content = try await other[0] else { throw Unexpected(description: "no content") }
          #expect(try await command.output == Array("hi\n".utf8))
        }
        #expect(await connection.facts.reader == "awk")
        await connection.close()
        #expect(server.acceptedCount == 1)
        #expect(server.failures == [])
      }
    } catch {
      await group.stop()
      throw error
    }
    await group.stop()
  }
}

/// What a test met in place of what it wanted.
private struct Unexpected: Error, CustomStringConvertible {
  var description: String
}
