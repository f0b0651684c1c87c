internal import HTTPTypes
internal import NIOCore
internal import NIOHTTPTypes

/// Watches one connection: nobody may hold it by sending or reading slowly, however lively the bytes trickle.
///
/// Every phase but the answering itself has a deadline of its own that counts from the phase's beginning, not from the
/// last byte: waiting for a request, receiving a body, throwing away the rest of a body that was answered early. A
/// client that does not read what it asked for is cut off as well.
final class ConnectionGuard: ChannelDuplexHandler, RemovableChannelHandler {
  typealias InboundIn = HTTPRequestPart
  typealias InboundOut = HTTPRequestPart
  typealias OutboundIn = HTTPResponsePart
  typealias OutboundOut = HTTPResponsePart

  /// How long a client may take. Nothing here bounds the answering itself: each operation has its own deadline.
  struct Limits: Sendable, Hashable {
    /// From connecting to the end of the first request's head.
    var head: Duration = .seconds(10)
    /// From one answer to the end of the next request's head.
    var idle: Duration = .seconds(60)
    /// From the end of a request's head to the end of its body.
    var body: Duration = .seconds(30)
    /// For the rest of a body that was answered before it had come.
    var discard: Duration = .seconds(5)
    /// Until some of what waits to be sent has left (about 64 KiB).
    var send: Duration = .seconds(60)
  }

  private enum Phase: Equatable { case head, idle, body, answering, discarding }

  private let book: ConnectionBook
  private let limits: Limits
  private var phase = Phase.head
  private var isReceiving = false
  /// Requests whose answer is not complete. Bounded by what fits into the read-ahead of the connection.
  private var unanswered = 0
  private var isStreaming = false
  private var deadline: Scheduled<Void>?
  private var sending: Scheduled<Void>?

  init(book: ConnectionBook, limits: Limits) {
    self.book = book
    self.limits = limits
  }

  func handlerAdded(context: ChannelHandlerContext) {
    book.admit(context.channel)
    setDeadline(limits.head, context)
  }

  func handlerRemoved(context: ChannelHandlerContext) { leave(context) }

  func channelInactive(context: ChannelHandlerContext) {
    leave(context)
    context.fireChannelInactive()
  }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    switch unwrapInboundIn(data) {
    case .head:
      unanswered += 1
      isReceiving = true
    case .body: break
    case .end: isReceiving = false
    }
    update(context)
    context.fireChannelRead(data)
  }

  func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
    switch unwrapOutboundIn(data) {
    case .head(let head):
      if head.status.kind != .informational { isStreaming = head.headerFields[.contentType] == EventStream.type }
    case .body: break
    case .end:
      unanswered = max(0, unanswered - 1)
      isStreaming = false
    }
    context.write(data, promise: promise)
    update(context)
  }

  func channelWritabilityChanged(context: ChannelHandlerContext) {
    sending?.cancel()
    sending = context.channel.isWritable ? nil : close(in: limits.send, context)
    context.fireChannelWritabilityChanged()
  }

  func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
    // A stream has no end of its own. Who closes the sending half of a stream's connection has left it.
    if isStreaming, event is ChannelShouldQuiesceEvent || (event as? ChannelEvent) == .inputClosed {
      return context.close(promise: nil)
    }
    context.fireUserInboundEventTriggered(event)
  }

  private func update(_ context: ChannelHandlerContext) {
    let next: Phase =
      switch (isReceiving, unanswered > 0) {
      case (true, true): .body
      case (true, false): .discarding
      case (false, true): .answering
      case (false, false): phase == .head ? .head : .idle
      }
    guard next != phase else { return }
    let wasIdle = phase == .head || phase == .idle || phase == .discarding
    phase = next
    let isIdle = next == .idle || next == .discarding
    if wasIdle != isIdle { book.note(context.channel, isIdle: isIdle) }
    switch next {
    case .head: setDeadline(limits.head, context)
    case .idle: setDeadline(limits.idle, context)
    case .body: setDeadline(limits.body, context)
    case .discarding: setDeadline(limits.discard, context)
    case .answering: setDeadline(nil, context)
    }
  }

  private func setDeadline(_ duration: Duration?, _ context: ChannelHandlerContext) {
    deadline?.cancel()
    deadline = duration.map { close(in: $0, context) }
  }

  private func close(in duration: Duration, _ context: ChannelHandlerContext) -> Scheduled<Void> {
    let channel = context.channel
    return context.eventLoop.scheduleTask(in: TimeAmount(duration)) { channel.close(promise: nil) }
  }

  private func leave(_ context: ChannelHandlerContext) {
    deadline?.cancel()
    sending?.cancel()
    (deadline, sending) = (nil, nil)
    book.remove(context.channel)
  }
}
