package import FoundationEssentials

/// What all workers know of the channels: how many deliveries each has in flight, what its rate allows, and until when
/// a peer asked for quiet.
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
    /// Up to when the messages let through have used up the channel's rate.
    var usedUntil: Date?
    /// When the last message that was put back for the rate's sake shall return; the next one after it.
    var lastReturn: Date?
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
  /// - Parameters:
  ///   - deadline: within which the delivery will have ended.
  ///   - rate: how many messages the channel may send in a time; those beyond it are put back, each to a time of its
  /// own.
  package func enter(_ name: String, deadline: Duration, rate: DeliveryRate? = nil) async -> Admission {
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
        if let rate, let until = pace(&channel, rate, at: time) {
          channels[name] = channel
          return .later(
            until, reason: "the channel's rate of \(rate.count) in \(PlainText.duration(rate.period)) is used up")
        }
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

  /// Takes one message's share of the rate. - Returns: nil: it may go; else when it shall come again.
  ///
  /// The generic cell rate algorithm: as many as `count` may go at once, then one an interval.
  private func pace(_ channel: inout Channel, _ rate: DeliveryRate, at time: Date) -> Date? {
    let latest = time.advanced(by: rate.period)
    // Beyond what can have been used: the clock was set back, or the rate was changed.
    let used = channel.usedUntil.map { $0 > latest.advanced(by: rate.interval) ? time : max($0, time) } ?? time
    let next = used.advanced(by: rate.interval)
    if next <= latest.advanced(by: .milliseconds(1)) {
      channel.usedUntil = next
      return nil
    }
    let first = next.advanced(by: .zero - rate.period)
    let after = channel.lastReturn.map { $0.advanced(by: rate.interval) } ?? first
    let longest = time.advanced(by: Self.longestQuiet)
    let turn = min(after > first && after <= longest ? after : first, longest)
    channel.lastReturn = turn
    return turn
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
    let isPaced = channel.usedUntil.map { $0 > now() } ?? false
    let isForgotten = channel.inFlight.isEmpty && channel.quietUntil == nil && channel.waiting == 0 && !isPaced
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
