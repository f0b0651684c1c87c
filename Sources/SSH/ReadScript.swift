internal import CSSH2
internal import Glibc
internal import Remote

/// Several files read by one command: a constant POSIX shell script, its arguments, and how to take its output apart.
///
/// Each file's bytes are followed by a newline, a boundary of 128 random bits, and a status digit. A file cannot hold
/// the boundary but by chance of 2^-128, so that any bytes pass. One byte more than the limit is asked for, which tells
/// a file that was cut from one that just fits.
struct ReadScript {
  struct File {
    var path: String
    var limit: Int
  }

  let files: [File]
  let boundary: String
  let line: [UInt8]

  /// head opens the file itself: what the shell opens below /proc/self is empty once head runs.
  /// $1 is the boundary, then limit and path of each file. 1 missing, 2 not readable, 3 not a regular file, 4 failed.
  private static let script =
    #"b=$1; shift; while [ $# -gt 1 ]; do s=0; if [ -f "$2" ]; then if [ -r "$2" ]; then "#
    + #"head -c "$1" "$2" || s=4; else s=2; fi; elif [ -e "$2" ]; then s=3; else s=1; fi; "#
    + #"printf "\n%s %s\n" "$b" "$s"; shift 2; done"#

  /// Most bytes of the paths in one line, far below what a login shell takes.
  private static let batchLimit = 48_000

  /// Why a path cannot be asked for.
  static func problem(_ path: String) -> RemoteError? {
    if path.utf8.contains(0) { return invalid("A path holds a NUL byte.") }
    if path.utf8.count > 4096 { return invalid("A path is longer than 4096 bytes.") }
    if !path.hasPrefix("/") { return invalid("\(path.prefix(80)) is not an absolute path.") }
    return nil
  }

  /// As few scripts as the length of a line allows.
  static func batches(_ files: [(path: String, limit: Int)]) -> [ReadScript] {
    var result: [ReadScript] = []
    var batch: [File] = []
    var size = 0
    for file in files {
      if size + file.path.utf8.count > batchLimit, let script = ReadScript(batch) {
        result.append(script)
        batch = []
        size = 0
      }
      batch.append(File(path: file.path, limit: file.limit))
      size += file.path.utf8.count + 16
    }
    if !batch.isEmpty, let script = ReadScript(batch) { result.append(script) }
    return result
  }

  private init?(_ files: [File]) {
    self.files = files
    var generator = SystemRandomNumberGenerator()
    boundary = Self.hex(generator.next()) + Self.hex(generator.next())
    var words = [boundary]
    for file in files { words += [String(file.limit + 1), file.path] }
    do throws(RemoteError) {
      if files.contains(where: { $0.path.utf8.contains(10) || $0.path.utf8.count > 900 }) {
        line = Array(
          try ShellQuoting.line(
            Command(["/bin/sh", "-c", Self.script, "sh"] + words, environment: ["LC_ALL": "C"])
          ).utf8)
      } else {
        // One shell less on the host than the general way.
        var text = "exec /bin/sh -c " + (try ShellQuoting.quote("LC_ALL=C; export LC_ALL; " + Self.script)) + " sh"
        for word in words { text += " " + (try ShellQuoting.quote(word)) }
        line = Array(text.utf8)
      }
    } catch {
      return nil  // Unreachable: `problem` lets no path through that cannot be quoted.
    }
  }

  /// What the script prints at most.
  var outputLimit: Int { files.reduce(0) { $0 + $1.limit + 1 + boundary.utf8.count + 8 } }

  /// One answer for each file, from what came back before the end or a deadline.
  func answers(_ result: Result<CommandResult, RemoteError>) -> [Answer] {
    var output: [UInt8] = []
    let missing: RemoteError
    switch result {
    case .success(let value) where value.isTruncated:
      output = value.output
      missing = RemoteError(
        .timedOut, phase: .command, "The file was not read within \(RemoteLimits.deadline), or one before it was not.")
    case .success(let value):
      output = value.output
      missing = RemoteError(
        .protocolError, phase: .command,
        "The host's shell did not answer as asked (status \(value.status.map { "\($0)" } ?? "none")): "
          + Self.printable(value.errors))
    case .failure(let error):
      missing = error
    }
    let mark = [10] + Array(boundary.utf8) + [32]
    var answers: [Answer] = []
    output.withUnsafeBytes { bytes in
      var start = 0
      for file in files {
        guard let end = Self.find(mark, in: bytes, from: start) else { break }
        let status = end + mark.count
        guard status + 1 < bytes.count else { break }
        let length = min(end - start, file.limit)
        answers.append(
          bytes[status] == UInt8(ascii: "0")
            ? .content(Array(bytes[start..<(start + length)]), isTruncated: end - start > file.limit)
            : .failed(Self.failure(bytes[status], file.path)))
        start = status + 2
      }
    }
    while answers.count < files.count { answers.append(.failed(missing)) }
    return answers
  }

  /// Where `mark`, which begins with a newline, stands next.
  private static func find(_ mark: [UInt8], in bytes: UnsafeRawBufferPointer, from start: Int) -> Int? {
    guard let base = bytes.baseAddress else { return nil }
    var position = start
    while bytes.count - position >= mark.count, let found = memchr(base + position, 10, bytes.count - position) {
      position = UnsafeRawPointer(found) - base
      if bytes.count - position >= mark.count, memcmp(base + position, mark, mark.count) == 0 { return position }
      position += 1
    }
    return nil
  }

  private static func failure(_ status: UInt8, _ path: String) -> RemoteError {
    let reason =
      switch status {
      case UInt8(ascii: "1"): "there is no such file"
      case UInt8(ascii: "2"): "we may not read it"
      case UInt8(ascii: "3"): "it is not a regular file"
      default: "reading it failed"
      }
    return RemoteError(.protocolError, phase: .command, "\(path): \(reason).")
  }

  private static func invalid(_ message: String) -> RemoteError {
    RemoteError(.invalidCommand, phase: .command, message)
  }

  private static func hex(_ value: UInt64) -> String {
    let digits = String(value, radix: 16)
    return String(repeating: "0", count: 16 - digits.count) + digits
  }

  private static func printable(_ bytes: [UInt8]) -> String {
    String(decoding: bytes.prefix(200).map { $0 >= 0x20 && $0 < 0x7F ? $0 : 0x20 }, as: UTF8.self)
  }
}
