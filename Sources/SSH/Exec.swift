internal import CSSH2
internal import Remote

/// One command on its way through a channel. Confined to its connection's loop.
class Exec: @unchecked Sendable {
  // Sendable is true: made by its connection and then only touched on that connection's loop.
  // A ``Tunnel`` is one, too, so that it takes part in the session's write turn.

  /// Where it stands. `closing` and later only tidy up: the caller has its answer.
  enum Stage {
    case queued, opening, starting, running, closing, freeing, done
  }

  /// The library call that is due next or that was cut short by a full send buffer.
  enum Operation {
    case open, start, write, sendEOF, readOutput, readErrors, waitClosed, close, free
  }

  let id: UInt64
  let line: [UInt8]
  /// Reads may use the one slot that other commands leave free.
  let isRead: Bool
  var input: [UInt8]
  let deadline: Duration
  let outputLimit: Int
  let errorLimit: Int

  /// When it began to wait for a channel, in the loop's nanoseconds.
  let queuedAt = EventLoop.now()
  var stage = Stage.queued
  var channel: OpaquePointer?
  /// How often the server has refused it a channel.
  var refusals = 0
  var inputOffset = 0
  var hasSentEOF = false
  var output: [UInt8] = []
  var errors: [UInt8] = []
  var timer: TimerQueue.ID?
  var stageTimer: TimerQueue.ID?
  /// Given up, closed by us, and not confirmed by the server in time.
  var isZombie = false
  /// This is the resident reader's channel.
  var reader: ReaderChannel?
  /// The resident reader runs it instead.
  var handedOver: ReaderCommand?
  /// Nil once the caller has its answer.
  var completion: ((Result<CommandResult, RemoteError>) -> Void)?

  init(
    id: UInt64, line: [UInt8], isRead: Bool, input: [UInt8], deadline: Duration, outputLimit: Int, errorLimit: Int,
    completion: @escaping (Result<CommandResult, RemoteError>) -> Void
  ) {
    self.id = id
    self.line = line
    self.isRead = isRead
    self.input = input
    self.deadline = deadline
    self.outputLimit = outputLimit
    self.errorLimit = errorLimit
    self.completion = completion
  }

  var isAnswered: Bool { completion == nil }
  var hasInputLeft: Bool {
    // The reader's input has no end.
    inputOffset < input.count || (reader.map { !$0.outgoing.isEmpty } ?? !hasSentEOF)
  }

  /// One call of the library for this command. Returns its number, `LIBSSH2_ERROR_EAGAIN` when it would block.
  ///
  /// After EAGAIN with a full send buffer the same operation must be repeated, which finds the same arguments here.
  func perform(_ operation: Operation, into buffer: UnsafeMutableRawBufferPointer) -> Int {
    guard let channel else { return 0 }
    switch operation {
    case .open: return 0
    case .start:
      return line.withUnsafeBytes { bytes in
        Int(
          libssh2_channel_process_startup(
            channel, "exec", 4, bytes.baseAddress?.assumingMemoryBound(to: CChar.self), UInt32(bytes.count)))
      }
    case .write:
      return input.withUnsafeBytes { bytes in
        guard inputOffset < bytes.count, let base = bytes.baseAddress else { return 0 }
        return libssh2_channel_write_ex(
          channel, 0, base.advanced(by: inputOffset).assumingMemoryBound(to: CChar.self),
          min(bytes.count - inputOffset, 32_768))
      }
    case .sendEOF: return Int(libssh2_channel_send_eof(channel))
    case .readOutput, .readErrors:
      return libssh2_channel_read_ex(
        channel, operation == .readErrors ? 1 : 0, buffer.baseAddress?.assumingMemoryBound(to: CChar.self),
        buffer.count)
    case .waitClosed: return Int(libssh2_channel_wait_closed(channel))
    case .close: return Int(libssh2_channel_close(channel))
    case .free: return Int(libssh2_channel_free(channel))
    }
  }

  /// Keeps what the limit allows; false when the limit cut something.
  func keep(_ bytes: UnsafeRawBufferPointer, isError: Bool) -> Bool {
    let room = isError ? errorLimit - errors.count : outputLimit - output.count
    let kept = bytes.prefix(max(0, room))
    if isError { errors.append(contentsOf: kept) } else { output.append(contentsOf: kept) }
    return kept.count == bytes.count
  }

  /// The result as far as it is known; status and signal only after the channel's regular end.
  func result(in session: OpaquePointer, isTruncated: Bool) -> CommandResult {
    var status: Int32?
    var signal: String?
    if !isTruncated, let channel {
      var name: UnsafeMutablePointer<CChar>?
      var length = 0
      if libssh2_channel_get_exit_signal(channel, &name, &length, nil, nil, nil, nil) == 0, let name {
        let text = String(
          decoding: UnsafeRawBufferPointer(start: name, count: min(max(0, length), 64)), as: UTF8.self)
        libssh2_free(session, name)
        signal = text.hasPrefix("SIG") ? String(text.dropFirst(3)) : text
      } else {
        status = libssh2_channel_get_exit_status(channel)
      }
    }
    return CommandResult(status: status, signal: signal, output: output, errors: errors, isTruncated: isTruncated)
  }
}
