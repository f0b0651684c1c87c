internal import NIOConcurrencyHelpers
internal import NIOCore

/// The open connections of one run of the Gateway.
///
/// Bound: ``limit``. When another one comes, that one goes which has been waiting longest without a request being
/// answered, so that idle clients never keep others out. When all are being answered, the new one is closed.
final class ConnectionBook: Sendable {
  typealias ID = ObjectIdentifier

  private struct Entry {
    var channel: any Channel
    /// When it became idle, in the order of such events; nil while a request is being answered.
    var idleSince: UInt64?
  }

  private struct State {
    var entries: [ID: Entry] = [:]
    var events: UInt64 = 0
    var listener: (any Channel)?
    var isClosing = false

    mutating func nextEvent() -> UInt64 {
      events += 1
      return events
    }
  }

  private let limit: Int
  private let state = NIOLockedValueBox(State())

  init(limit: Int) { self.limit = limit }

  /// How many connections are open.
  var count: Int { state.withLockedValue { $0.entries.count } }

  /// Takes a new connection up, or closes it; may close another one for it.
  func admit(_ channel: any Channel) {
    let closed: (any Channel)? = state.withLockedValue { state in
      guard !state.isClosing else { return channel }
      var evicted: (any Channel)?
      if state.entries.count >= limit {
        let idle = state.entries.compactMap { id, entry in entry.idleSince.map { (id: id, since: $0) } }
        guard let oldest = idle.min(by: { $0.since < $1.since }) else { return channel }
        evicted = state.entries.removeValue(forKey: oldest.id)?.channel
      }
      state.entries[ID(channel)] = Entry(channel: channel, idleSince: state.nextEvent())
      return evicted
    }
    closed?.close(promise: nil)
  }

  func note(_ channel: any Channel, isIdle: Bool) {
    state.withLockedValue { state in
      let event = state.nextEvent()
      state.entries[ID(channel)]?.idleSince = isIdle ? event : nil
    }
  }

  func remove(_ channel: any Channel) { state.withLockedValue { _ = $0.entries.removeValue(forKey: ID(channel)) } }

  /// Remembers the listening socket, so that ``beginClosing()`` can close it.
  func listen(on channel: any Channel) {
    let isLate = state.withLockedValue { state in
      state.listener = channel
      return state.isClosing
    }
    if isLate { channel.close(promise: nil) }
  }

  /// Takes no more connections; closes those that wait and those that stream, the others once they are answered.
  func beginClosing() {
    let (listener, channels) = state.withLockedValue { state in
      state.isClosing = true
      return (state.listener, state.entries.values.map(\.channel))
    }
    listener?.close(promise: nil)
    for channel in channels { channel.pipeline.fireUserInboundEventTriggered(ChannelShouldQuiesceEvent()) }
  }

  /// Closes whatever is still open, answered or not.
  func closeAll() {
    let channels = state.withLockedValue { $0.entries.values.map(\.channel) }
    for channel in channels { channel.close(promise: nil) }
  }
}
