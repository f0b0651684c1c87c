/// A program on the host that stays and answers: one channel, one line in and one framed answer out a poll, without a
/// new process there.
///
/// This is the half that knows the text that passes, whatever carries it: it makes the line that starts the reader and
/// the bytes of requests, and takes what comes back apart. A value; whoever owns the channel owns it.
///
/// Which program runs is the host's affair: perl, awk or bash where they are, else sh with one `cat`, or the gate of a
/// restricted account. The protocol, one line each: `+SET LIMIT PATH` adds a file to a set, `-SET` empties it, `SET`
/// asks for its files. perl, awk and bash answer with a line of lengths (or `-CODE`) and then the contents; sh and the
/// gate with each file's bytes and a line that bears the boundary. perl also runs commands: `!ID SECONDS LIMIT LIMIT LINE`,
/// `~ID` ends one.
package struct ResidentReader: Sendable {
  package enum Kind: String, Sendable, Hashable, CaseIterable {
    case perl, awk, bash, sh, gate
  }

  /// A file to be read, up to `limit` bytes.
  package struct File: Sendable, Hashable {
    package var path: String
    package var limit: Int
    package init(path: String, limit: Int) {
      self.path = path
      self.limit = limit
    }
  }

  /// What came back.
  package enum Reply: Sendable {
    /// The oldest request that was not answered yet: one answer for each of its files.
    case answers([Answer])
    /// The end of a command. A command that was ended for its deadline is a failure.
    case command(UInt32, Result<CommandResult, RemoteError>)
  }

  /// 32 hexadecimal digits that no file holds but by chance of 2^-128.
  package let boundary: [UInt8]
  /// What runs there; nil until it has greeted us.
  package private(set) var kind: Kind?

  /// Sets of files that the host knows, by what is in them; at most ``setLimit``.
  private var sets: [[File]: Int] = [:]
  /// Requests that were made and not answered, oldest first.
  private var pending: [(set: Int, files: [File])] = []
  private var buffer: [UInt8] = []
  /// Where in the buffer a boundary may still be found; what is before was searched.
  private var searched = 0
  private var nextSet = 0

  private static let setLimit = 64
  /// Most bytes of noise before the greeting: what start-up files of the account print.
  private static let noiseLimit = 16 << 10
  private static let headerLimit = 2048
  private static let version = "1"

  package init() {
    var generator = SystemRandomNumberGenerator()
    boundary = Self.hex(generator.next()) + Self.hex(generator.next())
  }

  /// Requests that wait for their answer.
  package var pendingCount: Int { pending.count }

  // MARK: what goes out

  /// The shell line that starts the first of `kinds` that the host has.
  /// - Throws: never in practice: all of it is constant but the boundary.
  package func startLine(_ kinds: [Kind]) throws(RemoteError) -> [UInt8] {
    if kinds == [.gate] { return Array("reader ".utf8) + boundary }
    let names = kinds.map(\.rawValue).joined(separator: " ")
    return Array(
      try ShellQuoting.line(
        Command(
          [
            "/bin/sh", "-c", ReaderScripts.launcher, "sh", String(decoding: boundary, as: UTF8.self), names,
            ReaderScripts.perl, ReaderScripts.awk, ReaderScripts.bash, ReaderScripts.sh,
          ], environment: [:])
      ).utf8)
  }

  /// Whether the reader can pass this file as it is. Those that are built of text commands see text only, which is what
  /// /proc and /sys hold but for a few.
  package func canRead(_ path: String) -> Bool {
    guard let kind, !path.utf8.contains(10), path.utf8.count <= 4096 else { return false }
    switch kind {
    case .perl, .gate: return true
    case .awk, .bash, .sh:
      guard path.hasPrefix("/proc/") || path.hasPrefix("/sys/"), !path.utf8.contains(0) else { return false }
      return !Self.binaryNames.contains { path.hasSuffix($0) }
    }
  }

  private static let binaryNames = [
    "/cmdline", "/environ", "/auxv", "/mem", "/kcore", "/pagemap", "/config.gz", "/kmsg", "/config", "/rom", "/edid",
    "/vpd", "/uevent", "/data", "/raw",
  ]

  /// Whether commands can run beside, each with an end of its own.
  package var canRunCommands: Bool { kind == .perl }

  /// Appends the request for these files, and what the host must know first.
  ///
  /// - Parameter files: at most 64, each one that ``canRead(_:)``.
  package mutating func request(_ files: [File], to bytes: inout [UInt8]) {
    let set: Int
    if let known = sets[files] {
      set = known
    } else {
      if sets.count >= Self.setLimit {
        sets.removeAll(keepingCapacity: true)
        nextSet = 0
      }
      set = nextSet
      nextSet += 1
      sets[files] = set
      bytes.append(UInt8(ascii: "-"))
      Self.append(set, to: &bytes)
      bytes.append(10)
      for file in files {
        bytes.append(UInt8(ascii: "+"))
        Self.append(set, to: &bytes)
        bytes.append(32)
        Self.append(file.limit, to: &bytes)
        bytes.append(32)
        bytes.append(contentsOf: file.path.utf8)
        bytes.append(10)
      }
    }
    Self.append(set, to: &bytes)
    bytes.append(10)
    pending.append((set, files))
  }

  /// Appends the order to run a command; its end comes as ``Reply/command(_:_:)`` with this number.
  ///
  /// - Parameter line: as ``ShellQuoting`` makes it: without a newline.
  package func run(
    _ id: UInt32, _ line: [UInt8], deadline_s: Int, outputLimit: Int, errorLimit: Int, to bytes: inout [UInt8]
  ) {
    bytes.append(UInt8(ascii: "!"))
    for number in [Int(id), deadline_s, outputLimit, errorLimit] {
      Self.append(number, to: &bytes)
      bytes.append(32)
    }
    bytes.append(contentsOf: line)
    bytes.append(10)
  }

  /// Appends the order to end a command at once.
  package func cancel(_ id: UInt32, to bytes: inout [UInt8]) {
    bytes.append(UInt8(ascii: "~"))
    Self.append(Int(id), to: &bytes)
    bytes.append(10)
  }

  // MARK: what comes back

  /// Takes what the host sent, in any pieces, and delivers what is complete.
  ///
  /// - Throws: `.protocolError` when it is not what a reader sends; nothing can be made of the rest then.
  package mutating func receive(
    _ bytes: UnsafeRawBufferPointer, _ deliver: (Reply) -> Void
  ) throws(RemoteError) {
    if buffer.isEmpty {
      // Almost always a whole answer comes at once: no byte of it is moved but into its place.
      let used = try consume(bytes, deliver)
      if used < bytes.count { buffer.append(contentsOf: UnsafeRawBufferPointer(rebasing: bytes[used...])) }
      return
    }
    buffer.append(contentsOf: bytes)
    var taken = buffer
    buffer = []
    let used = try Self.withBytes(of: taken) { (all) throws(RemoteError) in try consume(all, deliver) }
    taken.removeFirst(used)
    buffer = taken
  }

  private static func withBytes<T>(
    of array: [UInt8], _ body: (UnsafeRawBufferPointer) throws(RemoteError) -> T
  ) throws(RemoteError) -> T {
    let result: Result<T, RemoteError> = array.withUnsafeBytes { bytes in
      do throws(RemoteError) {
        return .success(try body(bytes))
      } catch {
        return .failure(error)
      }
    }
    return try result.get()
  }

  /// Delivers what is complete from the beginning of `bytes`; returns how many bytes that was.
  private mutating func consume(
    _ bytes: UnsafeRawBufferPointer, _ deliver: (Reply) -> Void
  ) throws(RemoteError) -> Int {
    var position = 0
    while position < bytes.count {
      let rest = UnsafeRawBufferPointer(rebasing: bytes[position...])
      let used: Int
      if kind == nil {
        used = try greeting(rest)
      } else if kind == .sh || kind == .gate {
        used = try bounded(rest, deliver)
      } else {
        used = try measured(rest, deliver)
      }
      if used == 0 { break }
      position += used
    }
    return position
  }

  private mutating func greeting(_ bytes: UnsafeRawBufferPointer) throws(RemoteError) -> Int {
    guard let end = bytes[min(searched, bytes.count)...].firstIndex(of: 10) else {
      searched = bytes.count
      if bytes.count > Self.noiseLimit { throw Self.failure("sent no greeting") }
      return 0
    }
    searched = 0
    let words = bytes[..<end].split(separator: 32)
    guard words.count >= 3, words[words.count - 3].elementsEqual("syscrap-reader".utf8) else {
      noise += end + 1
      if noise > Self.noiseLimit { throw Self.failure("sent no greeting") }
      return end + 1
    }
    guard words[words.count - 2].elementsEqual(Self.version.utf8),
      let kind = Kind(rawValue: String(decoding: words[words.count - 1].prefix(16), as: UTF8.self))
    else { throw Self.failure("is of a version that we do not know") }
    self.kind = kind
    return end + 1
  }

  private var noise = 0

  /// An answer with its lengths before it.
  private mutating func measured(
    _ bytes: UnsafeRawBufferPointer, _ deliver: (Reply) -> Void
  ) throws(RemoteError) -> Int {
    guard let end = bytes.prefix(Self.headerLimit).firstIndex(of: 10) else {
      if bytes.count >= Self.headerLimit { throw Self.failure("sent a header without an end") }
      return 0
    }
    var header = Numbers(bytes[..<end])
    if bytes[0] == UInt8(ascii: "!") {
      header.skip()
      return try command(bytes, header, after: end + 1, deliver)
    }
    guard let set = header.next(), let request = pending.first, set == request.set else {
      throw Self.failure("answered what was not asked")
    }
    var total = 0
    var check = header
    for file in request.files {
      guard let count = check.next(), count <= file.limit + 1 else { throw Self.failure("sent wrong lengths") }
      total += max(0, count)
    }
    guard check.isAtEnd else { throw Self.failure("sent too many lengths") }
    guard bytes.count - end - 1 >= total else { return 0 }
    var answers: [Answer] = []
    answers.reserveCapacity(request.files.count)
    var position = end + 1
    for file in request.files {
      let count = header.next() ?? 0
      if count < 0 {
        answers.append(.failed(Self.failure(code: -count, file.path)))
      } else {
        let kept = min(count, file.limit)
        answers.append(
          .content(Array(bytes[position..<(position + kept)]), isTruncated: count > file.limit))
        position += count
      }
    }
    pending.removeFirst()
    deliver(.answers(answers))
    return position
  }

  /// `!ID STATUS SIGNAL LENGTH LENGTH FLAGS`, then stdout and stderr.
  private func command(
    _ bytes: UnsafeRawBufferPointer, _ header: Numbers, after start: Int, _ deliver: (Reply) -> Void
  ) throws(RemoteError) -> Int {
    var header = header
    guard let number = header.next(), let id = UInt32(exactly: number) else { throw Self.failure("sent no number") }
    let status = header.nextOrNone()
    let signal = header.nextOrNone()
    guard let output = header.next(), let errors = header.next(), let flags = header.next(), header.isAtEnd,
      (0...RemoteLimits.output).contains(output), (0...RemoteLimits.output).contains(errors)
    else { throw Self.failure("sent a wrong end of a command") }
    guard bytes.count - start >= output + errors else { return 0 }
    let middle = start + output
    if flags & 4 != 0 {
      deliver(
        .command(
          id,
          .failure(
            RemoteError(.protocolError, phase: .command, "The host has no process or file descriptor for a command."))))
    } else if flags & 2 != 0 {
      deliver(
        .command(
          id, .failure(RemoteError(.timedOut, phase: .command, "The command did not end in time and was ended."))))
    } else {
      deliver(
        .command(
          id,
          .success(
            CommandResult(
              status: status.map { Int32(clamping: $0) }, signal: signal.map { Self.signalName($0) },
              output: Array(bytes[start..<middle]), errors: Array(bytes[middle..<(middle + errors)]),
              isTruncated: flags & 1 != 0))))
    }
    return middle + errors
  }

  /// An answer whose files end with the boundary.
  private mutating func bounded(
    _ bytes: UnsafeRawBufferPointer, _ deliver: (Reply) -> Void
  ) throws(RemoteError) -> Int {
    guard let request = pending.first else { throw Self.failure("answered what was not asked") }
    // All files of the request must be there; how far the search came is kept for the next piece.
    var answers: [Answer] = []
    var position = 0
    for file in request.files {
      guard let end = Self.find(boundary, in: bytes, from: max(position, answers.isEmpty ? searched : position)) else {
        if answers.isEmpty { searched = max(0, bytes.count - boundary.count - 1) }
        guard bytes.count <= request.files.reduce(0, { $0 + max($1.limit, 256 << 10) + 64 }) else {
          throw Self.failure("sent more than was asked for")
        }
        return 0
      }
      let status = end + boundary.count + 2
      guard status + 1 < bytes.count else { return 0 }
      guard bytes[status + 1] == 10, bytes[status - 1] == 32, (0x30...0x39).contains(bytes[status]) else {
        throw Self.failure("sent a wrong boundary")
      }
      let code = Int(bytes[status]) - 0x30
      if code == 0 {
        let count = end - position
        answers.append(
          .content(Array(bytes[position..<(position + min(count, file.limit))]), isTruncated: count > file.limit))
      } else {
        answers.append(.failed(Self.failure(code: code, file.path)))
      }
      position = status + 2
    }
    searched = 0
    pending.removeFirst()
    deliver(.answers(answers))
    return position
  }

  /// Where a newline with `mark` behind it stands next.
  private static func find(_ mark: [UInt8], in bytes: UnsafeRawBufferPointer, from start: Int) -> Int? {
    var position = start
    while position + mark.count < bytes.count {
      guard let newline = bytes[position...].firstIndex(of: 10) else { return nil }
      let begin = newline + 1
      guard begin + mark.count <= bytes.count else { return nil }
      if bytes[begin..<(begin + mark.count)].elementsEqual(mark) { return newline }
      position = begin
    }
    return nil
  }

  // MARK: words

  /// Why a file could not be read, by the code that the reader sent.
  private static func failure(code: Int, _ path: String) -> RemoteError {
    let reason =
      switch code {
      case 1: "there is no such file"
      case 2: "we may not read it"
      case 3: "it is not a regular file"
      case 5: "it holds NUL bytes that cannot be passed here"
      case 6: "the gate's list does not allow it"
      case 7: "there is no such file, or we may not read it"
      default: "reading it failed"
      }
    return RemoteError(
      code == 6 ? .refusedByPolicy : .protocolError, phase: .command, "\(path.prefix(200)): \(reason).")
  }

  private static func failure(_ what: String) -> RemoteError {
    RemoteError(.protocolError, phase: .command, "The reader on the host \(what).")
  }

  private static func signalName(_ number: Int) -> String {
    let names = [
      1: "HUP", 2: "INT", 3: "QUIT", 4: "ILL", 6: "ABRT", 7: "BUS", 8: "FPE", 9: "KILL", 11: "SEGV", 13: "PIPE",
      14: "ALRM", 15: "TERM",
    ]
    return names[number] ?? "\(number)"
  }

  private static func append(_ number: Int, to bytes: inout [UInt8]) {
    if number >= 10 { append(number / 10, to: &bytes) }
    bytes.append(UInt8(truncatingIfNeeded: 48 + max(0, number) % 10))
  }

  private static func hex(_ value: UInt64) -> [UInt8] {
    (0..<16).map { index in
      let digit = UInt8(truncatingIfNeeded: value >> UInt64(60 - 4 * index) & 15)
      return digit < 10 ? 48 + digit : 87 + digit
    }
  }

  /// The numbers of a header line.
  private struct Numbers {
    let bytes: Slice<UnsafeRawBufferPointer>
    var position: Int

    init(_ bytes: Slice<UnsafeRawBufferPointer>) {
      self.bytes = bytes
      position = bytes.startIndex
    }

    var isAtEnd: Bool { position >= bytes.endIndex }

    mutating func skip() { position += 1 }

    /// The next number, at most nine digits; nil when there is none.
    mutating func next() -> Int? {
      while position < bytes.endIndex, bytes[position] == 32 { position += 1 }
      var sign = 1
      if position < bytes.endIndex, bytes[position] == UInt8(ascii: "-") {
        sign = -1
        position += 1
      }
      var value = 0
      var digits = 0
      while position < bytes.endIndex, (0x30...0x39).contains(bytes[position]) {
        guard digits < 9 else { return nil }
        value = value * 10 + Int(bytes[position]) - 0x30
        digits += 1
        position += 1
      }
      return digits > 0 ? sign * value : nil
    }

    /// A number, or nil for `-`.
    mutating func nextOrNone() -> Int? {
      var copy = self
      if let number = copy.next() {
        self = copy
        return number
      }
      while position < bytes.endIndex, bytes[position] == 32 { position += 1 }
      if position < bytes.endIndex, bytes[position] == UInt8(ascii: "-") { position += 1 }
      return nil
    }
  }
}
