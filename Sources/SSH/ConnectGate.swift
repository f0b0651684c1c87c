internal import Remote

/// Lets connections begin no faster than servers bear.
///
/// sshd drops connections at random once ten strangers are at its door at a time (MaxStartups), and newer ones shut out
/// whoever hurries (PerSourcePenalties). So of one address only a few connections may be on their way to a login, few
/// begin in a second, and few in all; an address that turned us away is left alone for a while. Connections behind a
/// jump host count for that host: it is what they all go through.
///
/// Whoever waits is let in in the order of coming, and may give up; an address that has to wait holds up no other. At
/// most `limits.waiters` may wait. Time in here counts for no deadline of a connection: no socket is open yet.
package actor ConnectGate {
  package struct Limits: Sendable, Hashable {
    /// Connections to one address that have not logged in yet. 4.
    package var handshakes = 4
    /// Connections to one address that begin within a second. 10.
    package var perSecond = 10
    /// Connections that begin within a second, to all addresses together. 50.
    package var totalPerSecond = 50
    /// Who may wait; further ones are turned away. 20,000.
    package var waiters = 20_000
    /// How long a login counts on: sshd takes a moment to see that it is done. 50 ms.
    package var settling: Duration = .milliseconds(50)

    package init(handshakes: Int = 4, perSecond: Int = 10, totalPerSecond: Int = 50) {
      self.handshakes = handshakes
      self.perSecond = perSecond
      self.totalPerSecond = totalPerSecond
    }

    /// For servers of our own.
    package static let unlimited: Limits = {
      var limits = Limits(handshakes: .max, perSecond: .max, totalPerSecond: .max)
      limits.settling = .zero
      return limits
    }()
  }

  private var book: GateBook
  private var waiting: [UInt64: CheckedContinuation<Bool, Never>] = [:]
  private var lastID: UInt64 = 0
  private var alarm: (at: Duration, task: Task<Void, Never>)?
  private let now: @Sendable () -> Duration
  private let sleep: @Sendable (_ until: Duration) async throws -> Void
  private let random: @Sendable () -> Double

  /// - Parameter random: uniform in 0..<1.
  package init<C: Clock>(
    limits: Limits = Limits(), clock: C, random: @escaping @Sendable () -> Double = { .random(in: 0..<1) }
  ) where C.Duration == Duration {
    book = GateBook(limits)
    let origin = clock.now
    now = { origin.duration(to: clock.now) }
    sleep = { try await clock.sleep(until: origin.advanced(by: $0), tolerance: nil) }
    self.random = random
  }

  package init(limits: Limits = Limits()) { self.init(limits: limits, clock: ContinuousClock()) }

  /// How many wait now.
  package var waitingCount: Int { waiting.count }

  /// Returns when a connection to the address may begin; then ``leave(_:_:)`` must follow.
  ///
  /// - Throws: `.closed` when the task was cancelled, `.tooManyChannels` when too many wait already.
  func enter(_ address: String) async throws(RemoteError) {
    lastID += 1
    let id = lastID
    guard book.enter(id, address) else {
      throw RemoteError(
        .tooManyChannels, phase: .connect, "\(waiting.count) connections wait for their turn to begin already.")
    }
    let mayBegin = await withTaskCancellationHandler {
      await withCheckedContinuation { continuation in
        if Task.isCancelled {
          book.giveUp(id)
          return continuation.resume(returning: false)
        }
        waiting[id] = continuation
        admit()
      }
    } onCancel: {
      Task { await self.giveUp(id) }
    }
    guard mayBegin else {
      throw RemoteError(.closed, phase: .connect, "Connecting was cancelled while it waited for its turn.")
    }
  }

  /// A connection that was let in has logged in, or has failed.
  func leave(_ address: String, _ failure: RemoteError?) {
    book.leave(address, failure, at: now(), random: random())
    admit()
  }

  private func giveUp(_ id: UInt64) {
    guard let continuation = waiting.removeValue(forKey: id) else { return }
    book.giveUp(id)
    continuation.resume(returning: false)
    admit()
  }

  private func admit() {
    let (admitted, next) = book.admit(at: now())
    for id in admitted { waiting.removeValue(forKey: id)?.resume(returning: true) }
    guard let next else {
      alarm?.task.cancel()
      alarm = nil
      return
    }
    if let alarm, alarm.at <= next { return }
    alarm?.task.cancel()
    alarm = (
      next,
      Task { [weak self, sleep] in
        guard (try? await sleep(next)) != nil else { return }
        await self?.ring(next)
      }
    )
  }

  private func ring(_ time: Duration) {
    guard alarm?.at == time else { return }
    alarm = nil
    admit()
  }
}

/// What a ``ConnectGate`` decides by: who waits, what is on its way, and when it began. Time is a parameter.
struct GateBook {
  private struct Address {
    /// Of these so many wait.
    var waiting = 0
    /// Begun and not left.
    var inside = 0
    /// When those that have left count no longer.
    var settling: [Duration] = []
    /// The latest beginnings, at most `perSecond`.
    var starts: [Duration] = []
    var refusals = 0
    var pausedUntil: Duration = .zero
  }

  private enum Readiness {
    case now
    case later(Duration)
    /// As soon as one leaves.
    case whenLeft
  }

  let limits: ConnectGate.Limits
  /// In the order of coming.
  private var line: [(id: UInt64, address: String)] = []
  private var addresses: [String: Address] = [:]
  /// The latest beginnings of all addresses, at most `totalPerSecond`.
  private var starts: [Duration] = []
  private var tidied = 0

  init(_ limits: ConnectGate.Limits) { self.limits = limits }

  /// Puts one in line. - Returns: false when the line is full.
  mutating func enter(_ id: UInt64, _ address: String) -> Bool {
    guard line.count < limits.waiters else { return false }
    line.append((id, address))
    addresses[address, default: Address()].waiting += 1
    return true
  }

  mutating func giveUp(_ id: UInt64) {
    guard let index = line.firstIndex(where: { $0.id == id }) else { return }
    addresses[line.remove(at: index).address]?.waiting -= 1
  }

  /// - Parameter random: uniform in 0..<1.
  mutating func leave(_ name: String, _ failure: RemoteError?, at now: Duration, random: Double) {
    guard var address = addresses[name] else { return }
    address.inside -= 1
    if limits.settling > .zero { address.settling.append(now + limits.settling) }
    if let failure {
      // Only the server's own words at the door are meant, not a jump host's about where it may lead.
      if failure.code == .refusedByPolicy, failure.phase == .banner {
        address.refusals = min(address.refusals + 1, 16)
        let bound = min(Duration.seconds(60), .seconds(1 << min(address.refusals, 6)))
        address.pausedUntil = max(address.pausedUntil, now + .seconds(1) + (bound - .seconds(1)) * random)
      }
    } else {
      address.refusals = 0
    }
    addresses[name] = address
    tidy(now)
  }

  /// Lets in who may begin now, in order. - Returns: their numbers, and when to ask again without another event.
  mutating func admit(at now: Duration) -> (admitted: [UInt64], next: Duration?) {
    var admitted: [UInt64] = []
    var next: Duration?
    var blocked: Set<String> = []
    var rest: [(id: UInt64, address: String)]?
    for (index, entry) in line.enumerated() {
      if let free = Self.free(starts, limits.totalPerSecond), free > now {
        next = min(next ?? free, free)
        rest?.append(contentsOf: line[index...])
        break
      }
      guard !blocked.contains(entry.address), var address = addresses[entry.address] else {
        rest?.append(entry)
        continue
      }
      switch readiness(&address, now) {
      case .now:
        address.waiting -= 1
        address.inside += 1
        Self.note(now, in: &address.starts, limits.perSecond)
        Self.note(now, in: &starts, limits.totalPerSecond)
        admitted.append(entry.id)
        if rest == nil { rest = Array(line[..<index]) }
      case .later(let time):
        next = min(next ?? time, time)
        blocked.insert(entry.address)
        rest?.append(entry)
      case .whenLeft:
        blocked.insert(entry.address)
        rest?.append(entry)
      }
      addresses[entry.address] = address
    }
    if let rest { line = rest }
    return (admitted, next)
  }

  private func readiness(_ address: inout Address, _ now: Duration) -> Readiness {
    address.settling.removeAll { $0 <= now }
    if address.pausedUntil > now { return .later(address.pausedUntil) }
    if address.inside + address.settling.count >= limits.handshakes {
      return address.settling.min().map { .later($0) } ?? .whenLeft
    }
    if let free = Self.free(address.starts, limits.perSecond), free > now { return .later(free) }
    return .now
  }

  /// When one more may begin, if that is not at any time.
  private static func free(_ starts: [Duration], _ limit: Int) -> Duration? {
    guard starts.count >= limit, let oldest = starts.first else { return nil }
    return oldest + .seconds(1)
  }

  private static func note(_ now: Duration, in starts: inout [Duration], _ limit: Int) {
    guard limit < .max else { return }
    if starts.count >= max(1, limit) { starts.removeFirst() }
    starts.append(now)
  }

  /// Forgets addresses of which nothing is left to know, whenever their number has doubled.
  private mutating func tidy(_ now: Duration) {
    guard addresses.count > 2 * max(tidied, 512) else { return }
    addresses = addresses.filter { _, address in
      address.waiting > 0 || address.inside > 0 || address.pausedUntil > now || address.refusals > 0
        || (address.starts.last.map { $0 + .seconds(1) > now } ?? false)
    }
    tidied = addresses.count
  }
}
