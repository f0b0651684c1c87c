internal import CSSH2
internal import Glibc
internal import Remote

/// One command on its way through a session of the master. Confined to its connection's loop.
///
/// Speaks version 4 of OpenSSH's PROTOCOL.mux: hello, a request for a session, and three descriptors; then the master
/// tells whether the session was opened, and its exit status when it ends.
final class MuxSession: @unchecked Sendable {
  // Sendable is true: made by its connection and then only touched on that connection's loop.

  /// Where it stands. `closing` only tidies up: the caller has its answer.
  enum Stage { case queued, opening, running, closing, done }

  /// What the master says.
  enum Message: Equatable {
    /// It serves.
    case hello
    case opened
    case refused(String)
    case exited(Int32)
    /// Not what the protocol allows.
    case nonsense
  }

  /// Longest packet that a master sends us: all are short, a refusal's reason is the longest.
  private static let packetLimit = 64 << 10

  let line: [UInt8]
  /// Reads may use the one slot that other commands leave free.
  let isRead: Bool
  let input: [UInt8]
  let deadline: Duration
  let outputLimit: Int
  let errorLimit: Int

  /// When it was put in line, in the loop's nanoseconds.
  let queuedAt = EventLoop.now()
  var stage = Stage.queued
  /// Opened by the server and not yet ended there.
  var isOpen = false
  /// How often the server has refused it a session.
  var refusals = 0
  var timer: TimerQueue.ID?
  var stageTimer: TimerQueue.ID?
  /// Given up, and not ended by the server in time.
  var isZombie = false
  var status: Int32?
  /// The master is asked whether it still serves, because it ended this session without a status.
  private(set) var isAsking = false
  /// Nil once the caller has its answer.
  var completion: ((Result<CommandResult, RemoteError>) -> Void)?

  private(set) var control: DescriptorWatch?
  private var standardInput: DescriptorWatch?
  private var standardOutput: DescriptorWatch?
  private var standardErrors: DescriptorWatch?
  /// The master's ends, until it has them.
  private var theirs: [Int32] = []
  private var passed = 0
  private var outgoing: [UInt8] = []
  private var sent = 0
  private var incoming: [UInt8] = []
  private var inputOffset = 0
  private(set) var output: [UInt8] = []
  private(set) var errors: [UInt8] = []

  init(
    line: [UInt8], isRead: Bool, input: [UInt8], deadline: Duration, outputLimit: Int, errorLimit: Int,
    completion: @escaping (Result<CommandResult, RemoteError>) -> Void
  ) {
    self.line = line
    self.isRead = isRead
    self.input = input
    self.deadline = deadline
    self.outputLimit = outputLimit
    self.errorLimit = errorLimit
    self.completion = completion
  }

  var isAnswered: Bool { completion == nil }
  /// Whether the master has said its last word about this session.
  var hasControlEnded: Bool { control == nil }
  var hasOutputEnded: Bool { standardOutput == nil && standardErrors == nil }

  /// Connects to the master and prepares the request.
  ///
  /// - Parameter onEvent: called after anything happened on any of the descriptors.
  /// - Returns: 0, or the system's error number; nothing is left open then.
  func connect(to path: String, on loop: EventLoop, onStop: @escaping () -> Void, onEvent: @escaping () -> Void)
    -> Int32
  {
    let socket = Self.connected(to: path)
    guard socket >= 0 else { return errno }
    var pairs: [(ours: Int32, theirs: Int32)] = []
    for _ in 0..<3 { if let pair = DescriptorWatch.pair() { pairs.append(pair) } }
    guard pairs.count == 3 else {
      let number = errno
      close(socket)
      for pair in pairs {
        close(pair.ours)
        close(pair.theirs)
      }
      return number
    }
    theirs = pairs.map(\.theirs)
    let watches = [socket, pairs[0].ours, pairs[1].ours, pairs[2].ours].map {
      DescriptorWatch($0, on: loop, onStop: onStop) { _ in onEvent() }
    }
    control = watches[0]
    standardInput = watches[1]
    standardOutput = watches[2]
    standardErrors = watches[3]
    guard watches.allSatisfy({ $0 != nil }) else {
      finish()
      return EMFILE
    }
    outgoing = Self.request(line)
    return 0
  }

  private static func connected(to path: String) -> Int32 {
    let kind = Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue) | Int32(SOCK_NONBLOCK.rawValue)
    let descriptor = socket(AF_UNIX, kind, 0)
    guard descriptor >= 0 else { return -1 }
    var address = sockaddr_un()
    address.sun_family = sa_family_t(AF_UNIX)
    let name = Array(path.utf8)
    guard name.count < MemoryLayout.size(ofValue: address.sun_path) else {
      close(descriptor)
      errno = ENAMETOOLONG
      return -1
    }
    withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: name) }
    let code = withUnsafePointer(to: &address) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        Glibc.connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
      }
    }
    guard code != 0 else { return descriptor }
    let number = errno
    close(descriptor)
    errno = number
    return -1
  }

  /// Connects anew, only to hear whether the master still serves: it then says hello.
  /// - Returns: false when it does not, for sure.
  func askWhetherAlive(
    at path: String, on loop: EventLoop, onStop: @escaping () -> Void, onEvent: @escaping () -> Void
  ) -> Bool {
    isAsking = true
    let socket = Self.connected(to: path)
    guard socket >= 0 else { return false }
    control = DescriptorWatch(socket, on: loop, onStop: onStop) { _ in onEvent() }
    // Twelve bytes into an empty buffer.
    let hello = WireWriter.string(Self.number(Kind.hello) + Self.number(4))
    return control != nil && Glibc.send(socket, hello, hello.count, Int32(MSG_NOSIGNAL)) == hello.count
  }

  // MARK: the protocol

  private enum Kind {
    static let hello: UInt32 = 0x0000_0001
    static let newSession: UInt32 = 0x1000_0002
    static let permissionDenied: UInt32 = 0x8000_0002
    static let failure: UInt32 = 0x8000_0003
    static let exitMessage: UInt32 = 0x8000_0004
    static let sessionOpened: UInt32 = 0x8000_0006
    static let terminalFailed: UInt32 = 0x8000_0008
  }

  static func request(_ line: [UInt8]) -> [UInt8] {
    let hello = number(Kind.hello) + number(4)
    // Request 1, reserved, no terminal, no X11, no agent, no subsystem, no escape character, no terminal's name.
    let session =
      number(Kind.newSession) + number(1) + WireWriter.string([]) + number(0) + number(0) + number(0) + number(0)
      + number(.max) + WireWriter.string([]) + WireWriter.string(line)
    return WireWriter.string(hello) + WireWriter.string(session)
  }

  private static func number(_ value: UInt32) -> [UInt8] {
    [24, 16, 8, 0].map { UInt8(truncatingIfNeeded: value >> UInt32($0)) }
  }

  /// Sends what is due. False: the master takes no more.
  func send() -> Bool {
    guard let control else { return true }
    while sent < outgoing.count {
      let count = outgoing.withUnsafeBytes { bytes -> Int in
        guard let base = bytes.baseAddress else { return 0 }
        return Glibc.send(control.descriptor, base + sent, bytes.count - sent, Int32(MSG_NOSIGNAL))
      }
      if count < 0 {
        if errno == EINTR { continue }
        return errno == EAGAIN || errno == EWOULDBLOCK
      }
      sent += count
    }
    while passed < theirs.count {
      let count = cssh2_send_descriptor(control.descriptor, theirs[passed])
      if count < 0 {
        if errno == EINTR { continue }
        return errno == EAGAIN || errno == EWOULDBLOCK
      }
      passed += 1
    }
    if !theirs.isEmpty {
      theirs.forEach { _ = close($0) }
      theirs = []
      passed = 0
      outgoing = []
      sent = 0
    }
    return true
  }

  /// What the master has said since; the end of its words closes the control socket.
  func messages() -> [Message] {
    guard let control else { return [] }
    let isOpen = control.drain {
      incoming.append(contentsOf: $0)
      return incoming.count <= Self.packetLimit
    }
    var result: [Message] = []
    while let packet = nextPacket() {
      if let message = Self.read(packet) { result.append(message) }
    }
    if incoming.count > Self.packetLimit {
      incoming = []
      result.append(.nonsense)
    }
    if !isOpen { closeControl() }
    return result
  }

  private func nextPacket() -> ArraySlice<UInt8>? {
    guard incoming.count >= 4 else { return nil }
    let length = Self.number(incoming[..<4])
    guard length <= Self.packetLimit, incoming.count >= 4 + Int(length) else { return nil }
    let packet = incoming[4..<(4 + Int(length))]
    incoming = Array(incoming[(4 + Int(length))...])
    return packet
  }

  private static func number(_ bytes: ArraySlice<UInt8>) -> UInt32 {
    bytes.prefix(4).reduce(0) { $0 << 8 | UInt32($1) }
  }

  /// Takes one packet apart; `nil` when it says nothing that matters.
  static func read(_ packet: ArraySlice<UInt8>) -> Message? {
    guard packet.count >= 8 else { return .nonsense }
    let second = number(packet.dropFirst(4))
    switch number(packet) {
    case Kind.hello: return second == 4 ? .hello : .nonsense
    case Kind.sessionOpened: return .opened
    case Kind.exitMessage:
      guard packet.count >= 12 else { return .nonsense }
      return .exited(Int32(bitPattern: number(packet.dropFirst(8))))
    case Kind.failure, Kind.permissionDenied:
      var reader = WireReader(Array(packet.dropFirst(8)))
      let reason = reader.string().map { String(decoding: $0.prefix(200), as: UTF8.self) } ?? ""
      return .refused(reason.isEmpty ? "no reason given" : reason)
    default: return nil
    }
  }

  // MARK: data

  /// Gives the command what its input has left, then the end.
  func feed() {
    guard let standardInput else { return }
    while inputOffset < input.count {
      let count = input.withUnsafeBytes { bytes -> Int in
        guard let base = bytes.baseAddress else { return 0 }
        return Glibc.send(standardInput.descriptor, base + inputOffset, bytes.count - inputOffset, Int32(MSG_NOSIGNAL))
      }
      if count < 0 {
        if errno == EINTR { continue }
        if errno == EAGAIN || errno == EWOULDBLOCK { return }
        // A command that ends without reading its input is no failure.
        break
      }
      inputOffset += count
    }
    standardInput.close()
    self.standardInput = nil
  }

  /// Keeps what came, up to the limits. Returns how much that was, and false when a limit cut something.
  func collect() -> (count: Int, isWhole: Bool) {
    var count = 0
    var isWhole = true
    if let watch = standardOutput {
      let isOpen = watch.drain {
        count += $0.count
        isWhole = keep($0, in: &output, upTo: outputLimit)
        return isWhole
      }
      if !isOpen {
        watch.close()
        standardOutput = nil
      }
    }
    if isWhole, let watch = standardErrors {
      let isOpen = watch.drain {
        count += $0.count
        isWhole = keep($0, in: &errors, upTo: errorLimit)
        return isWhole
      }
      if !isOpen {
        watch.close()
        standardErrors = nil
      }
    }
    return (count, isWhole)
  }

  private func keep(_ bytes: UnsafeRawBufferPointer, in kept: inout [UInt8], upTo limit: Int) -> Bool {
    let room = bytes.prefix(max(0, limit - kept.count))
    kept.append(contentsOf: room)
    return room.count == bytes.count
  }

  /// Closes stdin, stdout and stderr: what the command writes from now on fails there. The master goes on to tell when
  /// it has ended.
  func closeStreams() {
    standardInput?.close()
    standardOutput?.close()
    standardErrors?.close()
    standardInput = nil
    standardOutput = nil
    standardErrors = nil
  }

  func closeControl() {
    control?.close()
    control = nil
    theirs.forEach { _ = close($0) }
    theirs = []
    passed = 0
  }

  /// Closes everything.
  func finish() {
    closeStreams()
    closeControl()
    isOpen = false
    stage = .done
  }

  /// Prepares for another request, after a refusal.
  func reset() {
    finish()
    stage = .queued
    outgoing = []
    sent = 0
    incoming = []
    inputOffset = 0
    output = []
    errors = []
  }

  func result(isTruncated: Bool) -> CommandResult {
    CommandResult(status: isTruncated ? nil : status, output: output, errors: errors, isTruncated: isTruncated)
  }
}
