internal import CSSH2
internal import Glibc
internal import Remote

/// One direct-tcpip channel of a jump host's connection, and the connection that travels in it.
///
/// To the outer connection it is one more channel that ``Connection/pump()`` moves on, under the same write turn. To
/// the inner one it stands in the socket's place: libssh2's callbacks read and write the two queues. A full queue stops
/// whoever fills it: the outer connection reads no more of the channel, and its SSH window closes; the inner session is
/// told that it would block. Both connections live on one event loop, so that nothing here needs a lock.
final class Tunnel: Exec, @unchecked Sendable {
  // Sendable is true: made by its inner connection and then only touched on the loop that both connections share.

  let host: String
  let port: Int
  /// The connection inside. The outer one keeps it alive through this until either ends.
  let inner: Connection
  /// The jump host's name, for people.
  let jump: String
  /// What opens the channel, as RFC 4254, section 7.2 says.
  let request: [UInt8]

  /// From the channel, for the inner session. 64 KiB.
  var incoming = ByteQueue(capacity: 64 << 10)
  /// From the inner session, for the channel. 64 KiB.
  var outgoing = ByteQueue(capacity: 64 << 10)
  /// The far end has closed: after what is in `incoming` comes nothing more.
  var isAtEnd = false
  /// What the inner connection has to be told after the present pump: EPOLL flags.
  var news: UInt32 = 0
  /// Told once how the opening went.
  var opened: ((Result<Void, RemoteError>) -> Void)?
  /// The inner connection has gone; only `outgoing` is still brought away.
  var isReleased = false

  init(host: String, port: Int, inner: Connection, jump: String, id: UInt64) {
    self.host = host
    self.port = port
    self.inner = inner
    self.jump = jump
    // OpenSSH writes where the connection came from into its log only.
    request =
      WireWriter.string(Array(host.utf8)) + WireWriter.length(port) + WireWriter.string(Array("127.0.0.1".utf8))
      + WireWriter.length(0)
    super.init(
      id: id, line: [], isRead: false, input: [], deadline: .zero, outputLimit: 0, errorLimit: 0, completion: { _ in })
  }

  override func perform(_ operation: Operation, into buffer: UnsafeMutableRawBufferPointer) -> Int {
    guard operation == .write, let channel else { return super.perform(operation, into: buffer) }
    return outgoing.withFirst { bytes in
      guard let base = bytes.baseAddress else { return 0 }
      return libssh2_channel_write_ex(
        channel, 0, base.assumingMemoryBound(to: CChar.self), min(bytes.count, 32_768))
    }
  }

  // MARK: for the inner session's callbacks

  /// As `recv` on a socket: bytes, 0 at the end, or a negative errno.
  func receive(_ buffer: UnsafeMutableRawPointer, _ length: Int, _ context: inout SocketContext) -> Int {
    let wasFull = incoming.room < Self.least
    let count = incoming.read(into: UnsafeMutableRawBufferPointer(start: buffer, count: length))
    if count == 0 {
      guard !isAtEnd else {
        context.isAtEnd = true
        return 0
      }
      context.isDry = true
      return -Int(EAGAIN)
    }
    if wasFull { askForPump() }
    context.isDry = incoming.isEmpty && !isAtEnd
    return count
  }

  /// As `send` on a socket.
  func send(_ buffer: UnsafeRawPointer, _ length: Int) -> Int {
    if isAtEnd { return -Int(EPIPE) }
    let count = outgoing.append(UnsafeRawBufferPointer(start: buffer, count: length))
    if count > 0 { askForPump() }
    return count > 0 || length == 0 ? count : -Int(EAGAIN)
  }

  /// As much room as one read of the channel needs: the library must find the same length when it repeats one.
  static let least = 32 << 10

  private func askForPump() { inner.passage?.outer.pumpSoon() }
}

/// The way of a connection that has no socket of its own.
struct Passage: Sendable {
  /// The jump host's name, for people.
  let name: String
  /// An open connection to it, on the loop of the connection that travels in it.
  let outer: Connection
}
