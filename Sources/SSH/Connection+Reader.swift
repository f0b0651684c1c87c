internal import CSSH2
internal import Glibc
internal import Logging
internal import Remote

/// Files of one `ask`, on their way through the resident reader, or by a script where that cannot be.
/// Confined to its connection's loop.
final class FileRequest: @unchecked Sendable {
  // Sendable is true: made by its connection and then only touched on that connection's loop.
  let files: [ResidentReader.File]
  let completion: ([Answer]) -> Void
  /// When the reader must have answered, in the loop's nanoseconds.
  var due: UInt64 = 0
  /// How often a reader has ended with it unanswered; then a script reads the files.
  var attempts = 0
  /// The caller is gone: what comes is dropped.
  var isAbandoned = false
  /// What several scripts, or the reader and a script, have found so far.
  var parts: [[Answer]?] = []
  /// Scripts that read for it, to be given up with it.
  var execs: [Exec] = []

  init(files: [ResidentReader.File], completion: @escaping ([Answer]) -> Void) {
    self.files = files
    self.completion = completion
  }
}

/// A command that the resident reader runs. Confined to its connection's loop.
final class ReaderCommand: @unchecked Sendable {
  // Sendable is true: made by its connection and then only touched on that connection's loop.
  let line: [UInt8]
  let deadline: Duration
  let outputLimit: Int
  let errorLimit: Int
  var id: UInt32 = 0
  var timer: TimerQueue.ID?
  var completion: ((Result<CommandResult, RemoteError>) -> Void)?

  init(
    line: [UInt8], deadline: Duration, outputLimit: Int, errorLimit: Int,
    completion: @escaping (Result<CommandResult, RemoteError>) -> Void
  ) {
    self.line = line
    self.deadline = deadline
    self.outputLimit = outputLimit
    self.errorLimit = errorLimit
    self.completion = completion
  }
}

/// The resident reader's channel and what is under way on it. Confined to its connection's loop.
final class ReaderChannel: @unchecked Sendable {
  // Sendable is true: made by its connection and then only touched on that connection's loop.
  var text = ResidentReader()
  var exec: Exec?
  /// Not sent yet: what comes before is still on its way, or the reader has not greeted us.
  var outgoing: [UInt8] = []
  /// Asked and not answered, oldest first.
  var waiting: [FileRequest] = []
  /// Commands that run on the host.
  var running: [UInt32: ReaderCommand] = [:]
  /// Commands whose turn has not come; at most `configuration.waiters`.
  var queued: [ReaderCommand] = []
  var lastCommand: UInt32 = 0
  /// Ends a reader that does not answer in time.
  var timer: TimerQueue.ID?
  /// Given up by us to make room.
  var isRetired = false

  /// Requests that it has answered.
  var answered = 0

  var isIdle: Bool { waiting.isEmpty && running.isEmpty && queued.isEmpty && outgoing.isEmpty }
}

extension Connection {
  /// What the connection knows of the reader.
  struct ReaderState {
    /// The reader at hand, being started or at work.
    var channel: ReaderChannel?
    /// What may be started next, the best first; none: files are read by a script each time.
    var kinds: [ResidentReader.Kind]
    /// Requests that wait for a greeting.
    var queue: [FileRequest] = []
    /// Readers that ended or fell silent since one last answered a hundred times; after the third none is started any more.
    var failures = 0
    /// Files that a reader hung on; at most 256.
    var slow: Set<String> = []
    /// The kind that was last at work, for `facts`.
    var kind: ResidentReader.Kind?

    init(_ kinds: [ResidentReader.Kind]) { self.kinds = kinds }
  }

  // MARK: files

  /// Reads files: by the resident reader, which is started if need be, or by a script. `completion` is called once.
  func read(_ files: [ResidentReader.File], _ completion: @escaping ([Answer]) -> Void) -> FileRequest {
    let request = FileRequest(files: files, completion: completion)
    dispatch(request)
    return request
  }

  private func dispatch(_ request: FileRequest) {
    if request.isAbandoned { return }
    guard state == .open else { return request.completion(fail(request)) }
    guard request.attempts < 2, !reader.kinds.isEmpty, reader.queue.count < configuration.waiters else {
      return readByScript(request)
    }
    guard let channel = reader.channel else {
      reader.queue.append(request)
      return startReader()
    }
    if channel.text.kind == nil { reader.queue.append(request) } else { send(request, channel) }
  }

  private func fail(_ request: FileRequest) -> [Answer] {
    let error = goneError
    return request.files.map { _ in .failed(error) }
  }

  private func send(_ request: FileRequest, _ channel: ReaderChannel) {
    let readable = request.files.map { channel.text.canRead($0.path) && !reader.slow.contains($0.path) }
    guard readable.allSatisfy({ $0 }) else { return split(request, readable) }
    channel.text.request(request.files, to: &channel.outgoing)
    metrics.readerAsked()
    request.due = EventLoop.now() &+ configuration.readerPatience.nanoseconds
    channel.waiting.append(request)
    if channel.timer == nil { watch(channel, after: configuration.readerPatience) }
  }

  /// Has the reader read what it can, and a script the rest.
  private func split(_ request: FileRequest, _ readable: [Bool]) {
    guard readable.contains(true) else { return readByScript(request) }
    request.parts = [nil, nil]
    for part in 0..<2 {
      let files = zip(request.files, readable).filter { $0.1 == (part == 0) }.map(\.0)
      let half = FileRequest(files: files) { answers in
        request.parts[part] = answers
        guard var first = request.parts[0]?[...], var second = request.parts[1]?[...] else { return }
        let all = readable.compactMap { $0 ? first.popFirst() : second.popFirst() }
        if !request.isAbandoned { request.completion(all) }
      }
      half.attempts = part == 0 ? request.attempts : 2
      dispatch(half)
      request.execs += half.execs
    }
  }

  /// One exec for all files: needs nothing of the host but a shell with `head`.
  private func readByScript(_ request: FileRequest) {
    let scripts = ReadScript.batches(request.files.map { ($0.path, $0.limit) })
    request.parts = Array(repeating: nil, count: scripts.count)
    for (index, script) in scripts.enumerated() {
      let exec = submit(
        line: script.line, isRead: true, input: [], deadline: configuration.scriptDeadline,
        outputLimit: script.outputLimit, errorLimit: RemoteLimits.errors
      ) { result in
        self.assumeIsolated { $0.scriptEnded(request, index, script.answers(result)) }
      }
      guard let exec else { continue }
      request.execs.append(exec)
      pump()
      if exec.stage == .queued, !exec.isAnswered { limitWait(exec) }
    }
  }

  private func scriptEnded(_ request: FileRequest, _ index: Int, _ answers: [Answer]) {
    request.parts[index] = answers
    guard request.parts.allSatisfy({ $0 != nil }) else { return }
    request.execs = []
    let all = request.parts.flatMap { $0 ?? [] }
    for (file, answer) in zip(request.files, all) {
      // A reader hung on another one.
      if case .content = answer { reader.slow.remove(file.path) }
    }
    if !request.isAbandoned { request.completion(all) }
  }

  /// Nobody waits for it any more.
  func abandon(_ request: FileRequest) {
    request.isAbandoned = true
    reader.queue.removeAll { $0 === request }
    for exec in request.execs { abort(exec, RemoteError(.closed, phase: .command, "The question was cancelled.")) }
  }

  // MARK: commands

  /// Whether the reader at work runs commands beside.
  var canReaderRun: Bool { reader.channel.map { $0.text.canRunCommands && $0.exec?.isAnswered == false } ?? false }

  /// Has the reader run a command: no further channel, no further process of sshd there.
  func run(_ command: ReaderCommand) {
    guard let channel = reader.channel, channel.queued.count < configuration.waiters else {
      return finish(
        command,
        .failure(RemoteError(.tooManyChannels, phase: .channel, "Too many commands wait for their turn already.")))
    }
    channel.queued.append(command)
    startCommands(channel)
    guard command.id == 0 else { return }
    command.timer = loop.schedule(after: configuration.queueWait) {
      self.assumeIsolated { connection in
        connection.cancel(
          command,
          RemoteError(
            .tooManyChannels, phase: .channel,
            "The command's turn did not come within \(connection.configuration.queueWait)."))
      }
    }
  }

  /// As many at once as the target may have channels beside the reader's own.
  private func startCommands(_ channel: ReaderChannel) {
    while !channel.queued.isEmpty, channel.running.count < max(1, bound - 1) {
      let command = channel.queued.removeFirst()
      guard command.completion != nil else { continue }
      loop.cancel(command.timer)
      channel.lastCommand &+= 1
      command.id = channel.lastCommand
      channel.running[command.id] = command
      metrics.commandStarted()
      // The host's own clock only catches what we could not end.
      let seconds = min(command.deadline.nanoseconds / 1_000_000_000, 1_000_000)
      channel.text.run(
        command.id, command.line, deadline_s: Int(seconds) + 5, outputLimit: command.outputLimit,
        errorLimit: command.errorLimit, to: &channel.outgoing)
      let id = command.id
      command.timer = loop.schedule(after: command.deadline) {
        self.assumeIsolated { connection in
          guard let command = connection.reader.channel?.running[id] else { return }
          connection.cancel(
            command, RemoteError(.timedOut, phase: .command, "The command did not end within \(command.deadline)."))
        }
      }
    }
  }

  /// Ends a command on the host and answers its caller.
  func cancel(_ command: ReaderCommand, _ error: RemoteError) {
    guard command.completion != nil else { return }
    if let channel = reader.channel {
      channel.queued.removeAll { $0 === command }
      if channel.running[command.id] === command { channel.text.cancel(command.id, to: &channel.outgoing) }
    }
    finish(command, .failure(error))
    pump()
  }

  private func finish(_ command: ReaderCommand, _ result: Result<CommandResult, RemoteError>) {
    loop.cancel(command.timer)
    command.timer = nil
    guard let completion = command.completion else { return }
    command.completion = nil
    completion(result)
  }

  /// A command whose reader is gone before it was sent goes the way of all others.
  private func runInChannel(_ command: ReaderCommand) {
    guard command.completion != nil else { return }
    loop.cancel(command.timer)
    command.timer = nil
    let exec = submit(
      line: command.line, isRead: false, input: [], deadline: command.deadline, outputLimit: command.outputLimit,
      errorLimit: command.errorLimit
    ) { result in
      self.assumeIsolated { $0.finish(command, result) }
    }
    if let exec { limitWait(exec) }
  }

  /// Commands that wait for a channel and that the reader can run: it has come while they waited.
  private func takeOver(_ channel: ReaderChannel) {
    guard channel.text.canRunCommands else { return }
    let eligible = queue.filter {
      $0.reader == nil && !$0.isRead && !$0.isAnswered && $0.input.isEmpty && $0.outputLimit <= RemoteLimits.output
        && $0.errorLimit <= RemoteLimits.output
    }
    for exec in eligible {
      queue.removeAll { $0 === exec }
      loop.cancel(exec.stageTimer)
      exec.stageTimer = nil
      let command = ReaderCommand(
        line: exec.line, deadline: exec.deadline, outputLimit: exec.outputLimit, errorLimit: exec.errorLimit
      ) { result in
        self.assumeIsolated { $0.answer(exec, result) }
      }
      exec.handedOver = command
      run(command)
    }
  }

  // MARK: the reader's life

  private func startReader() {
    let channel = ReaderChannel()
    do throws(RemoteError) {
      let exec = submit(
        line: try channel.text.startLine(reader.kinds), isRead: true, input: [], deadline: configuration.readerStart,
        outputLimit: 0, errorLimit: 4096
      ) { [weak channel] result in
        guard let channel else { return }
        self.assumeIsolated { $0.readerEnded(channel, result) }
      }
      guard let exec else { return }
      exec.reader = channel
      channel.exec = exec
      reader.channel = channel
    } catch {
      readerEnded(channel, .failure(error))
    }
  }

  /// Nobody waits for ever for a reader whose turn does not come.
  func limitReaderWait() {
    if let exec = reader.channel?.exec, exec.stage == .queued, exec.stageTimer == nil { limitWait(exec) }
  }

  /// One turn of the reader's channel: sends what is due, takes what came. Returns whether anything moved.
  func exchange(_ exec: Exec, _ channel: ReaderChannel) throws(RemoteError) -> Bool {
    if channel.isRetired { return try retire(exec) }
    var moved = false
    if channel.text.kind != nil, try write(exec, channel) { moved = true }
    var code: Int
    repeat {
      code = try check(attempt(exec, .readOutput))
      guard code > 0 else { break }
      moved = true
      let wasReady = channel.text.kind != nil
      // What is delivered may ask the reader for more, so it waits until the text is free again.
      var replies: [ResidentReader.Reply] = []
      var failure: RemoteError?
      do throws(RemoteError) {
        try channel.text.receive(UnsafeRawBufferPointer(rebasing: loop.readBuffer.prefix(code))) { replies.append($0) }
      } catch {
        failure = error
      }
      for reply in replies { take(reply, channel) }
      if let failure {
        answer(exec, .failure(failure))
        beginClose(exec)
        return true
      }
      if !wasReady, let kind = channel.text.kind { greeted(exec, channel, kind) }
    } while code > 0 && code == loop.readBuffer.count
    // What it says before it is at work tells why it is not; later its stderr is closed, but for what is still on its way.
    // Unread it would hide the channel's end.
    while channel.answered < 2 {
      code = try check(attempt(exec, .readErrors))
      guard code > 0 else { break }
      moved = true
      if channel.text.kind == nil {
        _ = exec.keep(UnsafeRawBufferPointer(rebasing: loop.readBuffer.prefix(code)), isError: true)
      }
    }
    if !channel.outgoing.isEmpty, channel.text.kind != nil, try write(exec, channel) { moved = true }
    guard turn == nil, let session, let remote = exec.channel, libssh2_channel_eof(remote) == 1 else { return moved }
    answer(exec, .success(exec.result(in: session, isTruncated: true)))
    beginClose(exec)
    return true
  }

  private func write(_ exec: Exec, _ channel: ReaderChannel) throws(RemoteError) -> Bool {
    var moved = false
    while true {
      if exec.inputOffset >= exec.input.count {
        guard !channel.outgoing.isEmpty else { return moved }
        // The two buffers change places, so that neither is made anew.
        exec.input.removeAll(keepingCapacity: true)
        exec.inputOffset = 0
        swap(&exec.input, &channel.outgoing)
      }
      let code = try check(attempt(exec, .write))
      guard code > 0 else { return moved }
      moved = true
      exec.inputOffset += code
    }
  }

  private func greeted(_ exec: Exec, _ channel: ReaderChannel, _ kind: ResidentReader.Kind) {
    loop.cancel(exec.timer)
    exec.timer = nil
    reader.kind = kind
    metrics.readerStarted(kind)
    let queue = reader.queue
    reader.queue = []
    for request in queue { send(request, channel) }
    takeOver(channel)
  }

  private func take(_ reply: ResidentReader.Reply, _ channel: ReaderChannel) {
    switch reply {
    case .answers(let answers):
      guard !channel.waiting.isEmpty else { return }
      let request = channel.waiting.removeFirst()
      channel.answered += 1
      // One that served well and died is no sign of a host where none can live.
      if channel.answered == 100 { reader.failures = 0 }
      metrics.readerAnswered()
      reportBytes()
      if !request.isAbandoned { request.completion(answers) }
    case .command(let id, let result):
      guard let command = channel.running.removeValue(forKey: id) else { return }
      finish(command, result)
      startCommands(channel)
    }
  }

  /// One timer for all requests under way: it looks at the oldest.
  private func watch(_ channel: ReaderChannel, after delay: Duration) {
    channel.timer = loop.schedule(after: delay) { [weak channel] in
      guard let channel else { return }
      self.assumeIsolated { $0.checkLateness(channel) }
    }
  }

  private func checkLateness(_ channel: ReaderChannel) {
    channel.timer = nil
    guard reader.channel === channel, let oldest = channel.waiting.first else { return }
    let now = EventLoop.now()
    if oldest.due > now { return watch(channel, after: .nanoseconds(Int64(clamping: oldest.due - now))) }
    // It hangs, on a file of the oldest request as far as we know: a script tells which.
    oldest.attempts = 2
    let names = oldest.files.map(\.path)
    if reader.slow.count + names.count <= 256 { reader.slow.formUnion(names) }
    guard let exec = channel.exec else { return }
    answer(
      exec,
      .failure(
        RemoteError(
          .timedOut, phase: .command,
          "The reader on the host did not answer within \(configuration.readerPatience).")))
    beginClose(exec)
    pump()
  }

  /// The reader's channel is gone, for whatever reason: what it had in hand goes another way.
  private func readerEnded(_ channel: ReaderChannel, _ result: Result<CommandResult, RemoteError>) {
    loop.cancel(channel.timer)
    channel.timer = nil
    channel.exec?.reader = nil
    channel.exec = nil
    guard reader.channel === channel || reader.channel == nil else { return }
    reader.channel = nil
    let requests = channel.waiting + reader.queue
    reader.queue = []
    let (unsent, commands) = (channel.queued, Array(channel.running.values))
    channel.waiting = []
    channel.queued = []
    channel.running = [:]
    if state == .open, !channel.isRetired {
      if channel.text.kind == nil {
        noteRefusal(channel, result)
      } else {
        reader.failures += 1
        if reader.failures >= 3 { reader.kinds = [] }
      }
    }
    let error =
      state == .open
      ? RemoteError(
        .lost, phase: .command, "The reader on the host ended while the command ran: it may have been carried out.")
      : goneError
    for command in commands { finish(command, .failure(error)) }
    for command in unsent { runInChannel(command) }
    if case .failure(let refusal) = result, refusal.code == .tooManyChannels, state == .open {
      for request in requests where !request.isAbandoned {
        request.completion(request.files.map { _ in .failed(refusal) })
      }
      return
    }
    for request in requests {
      request.attempts += channel.text.kind == nil || channel.isRetired ? 0 : 1
      dispatch(request)
    }
  }

  /// A reader that did not even greet us: says what is tried next.
  private func noteRefusal(_ channel: ReaderChannel, _ result: Result<CommandResult, RemoteError>) {
    if case .success(let value) = result,
      String(decoding: value.errors, as: UTF8.self).contains("syscrap-gate 1"), reader.kinds != [.gate]
    {
      reader.kinds = [.gate]
    } else if case .failure(let error) = result, error.code == .tooManyChannels {
      return  // No interpreter is to blame.
    } else if case .failure(let error) = result, error.code == .timedOut {
      reader.failures += 1
      if reader.failures >= 3 { reader.kinds = [] }
    } else {
      // An interpreter that is there and does not work.
      reader.kinds = reader.kinds.count > 1 ? [.sh] : []
    }
    if reader.kinds.isEmpty {
      logger.debug("no resident reader", metadata: ["ssh.host": "\(endpoint.host)"])
    }
  }

  /// Gives the reader's channel up for a command, where the server allows no second one; the next question starts
  /// another. Returns whether it was given up.
  ///
  /// It ends by itself at the end of its input: Dropbear ends the connection when a channel is closed while its program
  /// still runs.
  func retireReader() -> Bool {
    guard let channel = reader.channel, let exec = channel.exec, exec.stage == .running, channel.text.kind != nil,
      channel.isIdle
    else { return false }
    channel.isRetired = true
    reader.channel = nil
    exec.stageTimer = loop.schedule(after: configuration.channelClose) {
      self.assumeIsolated { connection in
        guard exec.stage == .running else { return }
        connection.endReader(exec)
        connection.pump()
      }
    }
    return true
  }

  private func endReader(_ exec: Exec) {
    answer(exec, .failure(RemoteError(.closed, phase: .command, "The reader made room for a command.")))
    beginClose(exec)
  }

  /// One turn of a reader that has been given up: tells it the end of its input and waits for its own.
  private func retire(_ exec: Exec) throws(RemoteError) -> Bool {
    if !exec.hasSentEOF {
      guard try check(attempt(exec, .sendEOF)) != Int(LIBSSH2_ERROR_EAGAIN) else { return false }
      exec.hasSentEOF = true
    }
    while try check(attempt(exec, .readOutput)) > 0 {}
    while try check(attempt(exec, .readErrors)) > 0 {}
    guard turn == nil, let remote = exec.channel, libssh2_channel_eof(remote) == 1,
      try check(attempt(exec, .waitClosed)) != Int(LIBSSH2_ERROR_EAGAIN)
    else { return false }
    endReader(exec)
    return true
  }
}
