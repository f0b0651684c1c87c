package import FoundationEssentials

/// What all workers know of the channels: how many deliveries each has in flight, and until when a peer asked for quiet.
///
/// A channel may hold at most `limit` workers (half of the pool, at least one), so that a relay that hangs never takes
/// the whole pool. A delivery beyond that waits up to ``patience`` for a place: a healthy channel gives one within
/// milliseconds. If none comes the channel counts as stuck: until a place is free again its messages are put back at
/// once, and those of other channels pass.
package actor ChannelGate {
  package enum Admission: Sendable, Hashable {
    /// Go on; give the number back with ``leave(_:channel:quietFor:now:)``.
    case go(Int)
    /// Put the message back until then.
    case later(Date, reason: String)
  }

  private struct Channel {
    var quietUntil: Date?
    /// When each delivery in flight must have ended.
    var inFlight: [Int: Date] = [:]
    var isStuck = false
    var bell = Doorbell()
    var waiting = 0
  }

  /// How long a delivery waits for a place.
  package static let patience: Duration = .seconds(1)
  /// Between these a message of a stuck channel is put back.
  package static let shortestReturn: Duration = .seconds(5)
  package static let longestReturn: Duration = .seconds(30)
  /// The longest quiet a peer may ask for.
  package static let longestQuiet: Duration = .seconds(3600)

  private let limit: Int
  private let clock: any Clock<Duration>
  private let now: @Sendable () -> Date
  private var nextNumber = 0
  /// Bounded by the number of notification_options documents: one with nothing in flight and no quiet is forgotten.
  private var channels: [String: Channel] = [:]

  /// - Parameter limit: most deliveries in flight by one channel; at least 1.
  package init(limit: Int, clock: any Clock<Duration>, now: @escaping @Sendable () -> Date) {
    self.limit = max(1, limit)
    self.clock = clock
    self.now = now
  }

  /// Asks for a place.
  /// - Parameter deadline: within which the delivery will have ended.
  package func enter(_ name: String, deadline: Duration) async -> Admission {
    var isLastLook = false
    while true {
      let time = now()
      var channel = channels[name] ?? Channel()
      // A clock that was set back must not make a quiet last for days.
      if let until = channel.quietUntil, until > time, until <= time.advanced(by: Self.longestQuiet) {
        return .later(until, reason: "the channel asked to wait")
      }
      channel.quietUntil = nil
      if channel.inFlight.count < limit {
        nextNumber += 1
        channel.inFlight[nextNumber] = time.advanced(by: deadline)
        channels[name] = channel
        return .go(nextNumber)
      }
      if isLastLook || channel.isStuck || Task.isCancelled {
        channel.isStuck = true
        channels[name] = channel
        let earliest = channel.inFlight.values.min() ?? time
        let bounded = min(
          max(earliest, time.advanced(by: Self.shortestReturn)), time.advanced(by: Self.longestReturn))
        return .later(bounded, reason: "the channel is busy with \(channel.inFlight.count) deliveries")
      }
      let seen = channel.bell.count
      channel.waiting += 1
      channels[name] = channel
      let start = time
      await channel.bell.wait(after: seen, atMost: Self.patience, clock: clock)
      channels[name]?.waiting -= 1
      // Rung for: somebody else may have been quicker, so look again; the wait as a whole stays bounded.
      isLastLook = channel.bell.count == seen || now() >= start.advanced(by: Self.patience)
    }
  }

  /// Gives a place back.
  /// - Parameter quietFor: what the peer asked for; all messages of the channel heed it.
  package func leave(_ number: Int, channel name: String, quietFor: Duration? = nil) {
    guard var channel = channels[name] else { return }
    channel.inFlight[number] = nil
    channel.isStuck = false
    if let quietFor, quietFor > .zero {
      let until = now().advanced(by: min(quietFor, Self.longestQuiet))
      channel.quietUntil = max(until, channel.quietUntil ?? until)
    }
    let isForgotten = channel.inFlight.isEmpty && channel.quietUntil == nil && channel.waiting == 0
    channels[name] = isForgotten ? nil : channel
    channel.bell.ring()
  }
}

extension Date {
  func advanced(by duration: Duration) -> Date {
    let parts = duration.components
    return addingTimeInterval(Double(parts.seconds) + Double(parts.attoseconds) / 1e18)
  }
}
