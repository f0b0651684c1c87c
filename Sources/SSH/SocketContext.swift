internal import CSSH2
internal import Glibc

/// What libssh2's callbacks see of a connection: its socket's counters and state, and the answer to a password prompt.
///
/// Lives in memory of its own that the session's `abstract` points to. Touched on the loop's thread only.
struct SocketContext {
  var received: UInt64 = 0
  var sent: UInt64 = 0
  /// The last recv came up short: nothing can be there until the next edge, so the kernel need not be asked.
  var isDry = false
  /// The peer has closed its side: no further edge will come, so `isDry` no longer holds.
  var hasHangup = false
  /// We have ended the connection: every call fails at once, so that the session can be freed without waiting.
  var isDead = false
  /// The peer's end was read.
  var isAtEnd = false
  var errorNumber: Int32 = 0
  /// What the server sent first, for banners that are refusals. Not filled after the banner.
  var openingLength = 0
  var keepsOpening = true
  var opening: InlineOpening = InlineOpening()
  /// Borrowed from the authentication in progress; nil otherwise.
  var password: UnsafeBufferPointer<UInt8>?
  var promptCount = 0
  /// Stands in the socket's place behind a jump host; kept by the connection.
  var tunnel: Unmanaged<Tunnel>?

  /// 256 bytes without an allocation.
  struct InlineOpening {
    typealias Words = (
      UInt64, UInt64, UInt64, UInt64, UInt64, UInt64, UInt64, UInt64, UInt64, UInt64, UInt64, UInt64, UInt64, UInt64,
      UInt64, UInt64, UInt64, UInt64, UInt64, UInt64, UInt64, UInt64, UInt64, UInt64, UInt64, UInt64, UInt64, UInt64,
      UInt64, UInt64, UInt64, UInt64
    )
    static let size = 256
    var words: Words = (
      0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0
    )
  }

  /// The first bytes of the server, printable ones only.
  var openingText: String {
    withUnsafeBytes(of: opening.words) { bytes in
      String(
        decoding: bytes.prefix(min(openingLength, InlineOpening.size)).map { $0 >= 0x20 && $0 < 0x7F ? $0 : 0x20 },
        as: UTF8.self)
    }
  }

  mutating func keepOpening(_ bytes: UnsafeRawPointer, _ count: Int) {
    let room = InlineOpening.size - openingLength
    guard room > 0, count > 0 else { return }
    let length = min(room, count)
    withUnsafeMutableBytes(of: &opening.words) { target in
      target[openingLength..<(openingLength + length)].copyBytes(
        from: UnsafeRawBufferPointer(start: bytes, count: length))
    }
    openingLength += length
  }

  static func of(
    _ abstract: UnsafeMutablePointer<UnsafeMutableRawPointer?>?
  ) -> UnsafeMutablePointer<SocketContext>? {
    abstract?.pointee?.assumingMemoryBound(to: SocketContext.self)
  }
}

/// libssh2's way to read the socket: counts, and remembers a short read until the next edge.
let receiveFromSocket: cssh2_recv_function = { descriptor, buffer, length, flags, abstract in
  guard let context = SocketContext.of(abstract), let buffer else { return -Int(EINVAL) }
  if context.pointee.isDead { return 0 }
  if context.pointee.isDry { return -Int(EAGAIN) }
  if let tunnel = context.pointee.tunnel {
    let count = tunnel.takeUnretainedValue().receive(buffer, length, &context.pointee)
    if count > 0 {
      context.pointee.received &+= UInt64(count)
      if context.pointee.keepsOpening { context.pointee.keepOpening(buffer, count) }
    }
    return count
  }
  while true {
    let count = recv(descriptor, buffer, length, flags)
    if count > 0 {
      context.pointee.received &+= UInt64(count)
      if count < length && !context.pointee.hasHangup { context.pointee.isDry = true }
      if context.pointee.keepsOpening { context.pointee.keepOpening(buffer, count) }
      return count
    }
    if count == 0 {
      context.pointee.isAtEnd = true
      return 0
    }
    let code = errno
    if code == EINTR { continue }
    if code == EAGAIN || code == EWOULDBLOCK {
      if !context.pointee.hasHangup { context.pointee.isDry = true }
      return -Int(EAGAIN)
    }
    context.pointee.errorNumber = code
    return -Int(code)
  }
}

/// libssh2's way to write the socket: counts, and never raises SIGPIPE.
let sendToSocket: cssh2_send_function = { descriptor, buffer, length, flags, abstract in
  guard let context = SocketContext.of(abstract), let buffer else { return -Int(EINVAL) }
  if context.pointee.isDead { return -Int(EPIPE) }
  if let tunnel = context.pointee.tunnel {
    let count = tunnel.takeUnretainedValue().send(buffer, length)
    if count > 0 { context.pointee.sent &+= UInt64(count) }
    if count < 0 && count != -Int(EAGAIN) { context.pointee.errorNumber = Int32(clamping: -count) }
    return count
  }
  while true {
    let count = send(descriptor, buffer, length, flags | Int32(MSG_NOSIGNAL))
    if count >= 0 {
      context.pointee.sent &+= UInt64(count)
      return count
    }
    let code = errno
    if code == EINTR { continue }
    if code != EAGAIN && code != EWOULDBLOCK { context.pointee.errorNumber = code }
    return -Int(code)
  }
}
