internal import CSSH2
internal import Remote

extension Connection {
  /// Watches for silence: asks the server for a sign of life, and ends the connection when none comes.
  ///
  /// Any byte received counts as life, so that a connection that is asked regularly never sends a keep-alive. Idle, a
  /// dead peer is found within twice `configuration.keepAlive`; with data in flight TCP_USER_TIMEOUT is faster.
  func watchIdle() {
    let interval = configuration.keepAlive.nanoseconds
    guard state == .open, interval > 0 else { return }
    reportBytes()
    let now = EventLoop.now()
    var next = lastReceived &+ interval
    if let sent = keepAliveSent {
      if lastReceived > sent {
        keepAliveSent = nil
      } else if now &- sent >= interval {
        metrics.deadPeer("keepalive")
        return end(
          RemoteError(
            .lost, phase: .connection,
            "\(endpoint.host) has sent nothing for \(configuration.keepAlive * 2), not even an answer to a keep-alive.")
        )
      } else {
        next = sent &+ interval
      }
    }
    if keepAliveSent == nil, now >= next {
      if sendKeepAlive() {
        keepAliveSent = now
        next = now &+ interval
      } else {
        guard state == .open else { return }
        next = now &+ 1_000_000_000
      }
    }
    let wait = next > now ? next - now : 0
    keepAliveTimer = loop.schedule(after: .nanoseconds(Int64(clamping: wait))) {
      self.assumeIsolated { $0.watchIdle() }
    }
  }

  /// Sends a global request that wants an answer. The library forgets it when the send buffer is full and could then
  /// never send anything else, so it is asked for only when nothing else is on its way out.
  private func sendKeepAlive() -> Bool {
    guard let session, let context, turn == nil, TCPSocket.unsent(descriptor) == 0,
      tunnel?.outgoing.isEmpty ?? true, tunnels.allSatisfy({ $0.outgoing.isEmpty }),
      !live.contains(where: { !$0.isAnswered && $0.stage != .queued && $0.hasInputLeft })
    else { return false }
    let before = context.pointee.sent
    libssh2_keepalive_config(session, 1, 2)
    var seconds: Int32 = 0
    let code = libssh2_keepalive_send(session, &seconds)
    if code != 0 {
      end(sessionError(code))
      return false
    }
    // Not sent when the library's own clock of whole seconds has not moved on by two.
    return context.pointee.sent != before
  }
}
