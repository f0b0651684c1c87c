/// One host that can be asked things, over whatever transport reaches it.
///
/// A `Remote` is one live, authenticated connection. It never reconnects by itself: when the connection is gone every
/// call throws ``RemoteError`` with phase `.connection`, and whoever owns it asks its ``Connector`` for a new one.
/// All calls may be made from any task at the same time; the transport keeps to the target's channel bound.
package protocol Remote: Sendable {
  /// Puts all questions that are due to the host and returns their answers in the same order.
  ///
  /// How they travel (one exec, one resident reader, several channels) is the transport's affair. Each question has
  /// a deadline of its own; one that is late or fails yields an answer that says so and harms no other question.
  /// - Parameter questions: at most ``RemoteLimits/questions``.
  /// - Returns: one answer for each question, in order.
  /// - Throws: ``RemoteError`` only when the connection itself failed.
  func ask(_ questions: [Question]) async throws(RemoteError) -> [Answer]

  /// Runs one command to its end. Output beyond the command's limits is cut, the channel closed, and the result marked.
  func run(_ command: Command) async throws(RemoteError) -> CommandResult

  /// What was negotiated and who was met, for `describe` and `doctor`.
  var facts: ConnectionFacts { get async }

  /// Returns when the connection has ended, with the reason (`nil`: closed by us).
  func ended() async -> RemoteError?

  /// Ends the connection. Idempotent; waits at most a second for the peer.
  func close() async
}

/// Makes connections to one target. Fulfilled by the SSH room; scripted in tests.
package protocol Connector: Sendable {
  /// Opens and authenticates one connection.
  /// - Throws: ``RemoteError`` whose `phase` names where it failed.
  func connect() async throws(RemoteError) -> any Remote
}

/// Bounds that hold for every transport.
package enum RemoteLimits {
  /// Most questions in one `ask`.
  package static let questions = 64
  /// Bytes kept of one answer or of a command's stdout: 1 MiB.
  package static let output = 1 << 20
  /// Bytes kept of stderr: 64 KiB.
  package static let errors = 64 << 10
  /// How long a command or a question may take unless it says otherwise.
  package static let deadline: Duration = .seconds(30)
}

/// One thing to be found out on a host, as a value: a metric states it, the transport decides how it travels.
package enum Question: Sendable, Hashable {
  /// The content of a small file such as those under /proc, up to `limit` bytes.
  case read(path: String, limit: Int = RemoteLimits.output)
  /// The end of a command: status, stdout, stderr.
  case run(Command)
}

/// What came back for one ``Question``.
package enum Answer: Sendable, Hashable {
  /// The file's bytes; `isTruncated` when the limit cut them.
  case content([UInt8], isTruncated: Bool)
  case result(CommandResult)
  /// This question could not be answered; the others are not affected.
  case failed(RemoteError)
}

/// A command as an argument vector. It becomes a shell line in one place only, by the one quoting function.
package struct Command: Sendable, Hashable {
  /// The program and its arguments; no element may hold a NUL byte.
  package var arguments: [String]
  /// Set for the command alone, e.g. `["LC_ALL": "C"]`; names are `[A-Za-z_][A-Za-z0-9_]*`.
  package var environment: [String: String]
  package var deadline: Duration
  package var outputLimit: Int
  package var errorLimit: Int
  /// Given to the command's stdin, then end of file.
  package var input: [UInt8]

  package init(
    _ arguments: [String], environment: [String: String] = ["LC_ALL": "C"], deadline: Duration = RemoteLimits.deadline,
    outputLimit: Int = RemoteLimits.output, errorLimit: Int = RemoteLimits.errors, input: [UInt8] = []
  ) {
    self.arguments = arguments
    self.environment = environment
    self.deadline = deadline
    self.outputLimit = outputLimit
    self.errorLimit = errorLimit
    self.input = input
  }
}

/// How a command ended.
package struct CommandResult: Sendable, Hashable {
  /// The exit status; `nil` when a signal ended it or the channel was closed by us.
  package var status: Int32?
  /// The signal's name without SIG, when one ended the command.
  package var signal: String?
  package var output: [UInt8]
  package var errors: [UInt8]
  /// True when a limit cut stdout or stderr and the channel was closed.
  package var isTruncated: Bool

  package init(
    status: Int32?, signal: String? = nil, output: [UInt8] = [], errors: [UInt8] = [], isTruncated: Bool = false
  ) {
    self.status = status
    self.signal = signal
    self.output = output
    self.errors = errors
    self.isTruncated = isTruncated
  }
}

/// What a live connection knows about itself.
package struct ConnectionFacts: Sendable, Hashable, Codable {
  package var address: String
  /// The hosts that were passed through, from ours to the target's, by name, with commas; empty: none.
  package var jump: String
  package var serverBanner: String
  package var hostKeyType: String
  package var hostKeyFingerprint: String
  package var keyExchange: String
  package var cipher: String
  package var mac: String
  package var authentication: String
  package var latency_ms: Double
  /// What answers questions for files there: perl, awk, bash, sh or gate; empty: a script each time, or none asked yet.
  package var reader: String
  /// What carries the connection: `libssh2`, or `ssh` for the system's own client.
  package var transport: String

  package init(
    address: String = "", serverBanner: String = "", hostKeyType: String = "", hostKeyFingerprint: String = "",
    keyExchange: String = "", cipher: String = "", mac: String = "", authentication: String = "",
    latency_ms: Double = 0, jump: String = "", reader: String = "", transport: String = ""
  ) {
    self.address = address
    self.jump = jump
    self.serverBanner = serverBanner
    self.hostKeyType = hostKeyType
    self.hostKeyFingerprint = hostKeyFingerprint
    self.keyExchange = keyExchange
    self.cipher = cipher
    self.mac = mac
    self.authentication = authentication
    self.latency_ms = latency_ms
    self.reader = reader
    self.transport = transport
  }
}
