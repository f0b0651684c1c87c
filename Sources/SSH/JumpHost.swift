internal import Remote
internal import Threads

/// A host that others are reached through: how to connect to it, and which connection to it is shared.
package final class JumpHost: Sendable {
  /// Most jump hosts in a row.
  package static let limit = 8

  /// For people: what messages call it.
  package let name: String
  /// Jump hosts with equal keys share one connection, so it must tell apart whatever the connection depends on.
  let key: String
  let connector: SSHConnector
  /// How many hosts are passed through, with this one.
  let depth: Int

  package init(name: String, key: String, connector: SSHConnector) {
    self.name = name
    self.key = key
    self.connector = connector
    depth = 1 + (connector.jump?.depth ?? 0)
  }
}

/// The connections to jump hosts: one for each, made when it is first needed, shared by all that travel through it.
///
/// Who waits for one waits without a bound of time of its own: the attempt has deadlines. A jump host that fails is
/// left alone for a while, as ``ReconnectPolicy`` says; whoever asks meanwhile gets the same error at once, so that a
/// fleet behind it does not hammer it. Its connection ends by itself a while after the last one that travelled in it.
actor JumpPool {
  /// A host that did not answer through this jump host at the last try gets another connection: an opening that the
  /// jump host leaves open holds up all that come after it.
  struct Key: Hashable {
    var host: String
    var isLate: Bool
  }

  private enum Entry {
    /// An attempt is under way; goes to `open`, or away. Those who wait are bounded by the number of connectors.
    case connecting(attempt: UInt64, Task<Void, Never>, [UInt64: CheckedContinuation<Outcome, Never>])
    /// There is a connection, which may have ended meanwhile; goes away when that is noticed.
    case open(Connection)
  }
  private typealias Outcome = Result<Connection, RemoteError>

  private struct Trouble {
    var policy = ReconnectPolicy()
    var error: RemoteError?
    /// Not asked again before this time of ``EventLoop/now()``.
    var until: Duration = .zero
  }

  private var entries: [Key: Entry] = [:]
  /// What became of the jump hosts so far; of at most 1,024, those that waited longest are forgotten.
  private var troubles: [Key: Trouble] = [:]
  /// Connections that open no further tunnels, by age; at most two for each jump host, further ones are ended.
  private var retired: [Key: [Connection]] = [:]
  private var lastID: UInt64 = 0

  /// An open connection to the jump host, reserved for one who must ``Connection/leave()`` it.
  ///
  /// - Throws: what the jump host's own connection failed with, naming it.
  func connection(to jump: JumpHost, isLate: Bool) async throws(RemoteError) -> Connection {
    let key = Key(host: jump.key, isLate: isLate)
    guard jump.depth <= JumpHost.limit else {
      throw RemoteError(
        .unreachable, phase: .connect,
        "There are more than \(JumpHost.limit) jump hosts in a row, the last of them \(jump.name).")
    }
    // Once more for each that ended between being found and being reserved.
    for _ in 0..<4 {
      let outer = try await shared(jump, key)
      if await outer.reserve() { return outer }
      await forget(outer, jump, key)
    }
    throw RemoteError(.lost, phase: .connect, "The jump host \(jump.name) was lost again and again.")
  }

  /// Forgets when jump hosts may be asked again: what was wrong may have been mended.
  func hurry() {
    for key in troubles.keys { troubles[key]?.until = .zero }
  }

  private func shared(_ jump: JumpHost, _ key: Key) async throws(RemoteError) -> Connection {
    switch entries[key] {
    case .open(let connection): return connection
    case .connecting: break
    case nil:
      if let trouble = troubles[key], let error = trouble.error, trouble.until > Self.now { throw error }
      begin(jump, key)
    }
    lastID += 1
    let id = lastID
    let outcome: Outcome = await withTaskCancellationHandler {
      await withCheckedContinuation { continuation in
        guard !Task.isCancelled, case .connecting(let attempt, let task, var waiting) = entries[key] else {
          return continuation.resume(returning: .failure(Self.cancelled(jump)))
        }
        waiting[id] = continuation
        entries[key] = .connecting(attempt: attempt, task, waiting)
      }
    } onCancel: {
      Task { await self.giveUp(id, jump, key) }
    }
    return try outcome.get()
  }

  private func begin(_ jump: JumpHost, _ key: Key) {
    lastID += 1
    let attempt = lastID
    let task = Task {
      let outcome: Outcome
      do throws(RemoteError) {
        outcome = .success(try await jump.connector.connection())
      } catch {
        outcome = .failure(
          RemoteError(
            error.code, phase: error.phase, "The jump host \(jump.name): \(error.message)", rawCode: error.rawCode))
      }
      await finish(attempt, key, outcome)
    }
    entries[key] = .connecting(attempt: attempt, task, [:])
  }

  private func finish(_ attempt: UInt64, _ key: Key, _ outcome: Outcome) async {
    guard case .connecting(attempt, _, let waiting) = entries[key] else {
      // Everybody has given up meanwhile.
      if case .success(let connection) = outcome { await connection.close() }
      return
    }
    var trouble = troubles[key] ?? Trouble()
    switch outcome {
    case .success(let connection):
      entries[key] = .open(connection)
      trouble.policy.connected(at: Self.now)
      trouble.error = nil
    case .failure(let error):
      entries[key] = nil
      trouble.until = Self.now + trouble.policy.failed(error, at: Self.now, random: .random(in: 0..<1))
      trouble.error = error
    }
    note(trouble, key)
    for continuation in waiting.values { continuation.resume(returning: outcome) }
    // Should all of them have given up by now, nobody would ever leave it.
    if case .success(let connection) = outcome { await connection.lingerWhileUnused() }
  }

  private func giveUp(_ id: UInt64, _ jump: JumpHost, _ key: Key) {
    guard case .connecting(let attempt, let task, var waiting) = entries[key],
      let continuation = waiting.removeValue(forKey: id)
    else { return }
    if waiting.isEmpty {
      entries[key] = nil
      task.cancel()
    } else {
      entries[key] = .connecting(attempt: attempt, task, waiting)
    }
    continuation.resume(returning: .failure(Self.cancelled(jump)))
  }

  /// The connection has ended, or opens no further tunnels.
  private func forget(_ connection: Connection, _ jump: JumpHost, _ key: Key) async {
    guard case .open(let present) = entries[key], present === connection else { return }
    entries[key] = nil
    if let reason = await connection.loss {
      // One that is lost again and again is not made again at once each time.
      var trouble = troubles[key] ?? Trouble()
      trouble.until = Self.now + trouble.policy.failed(reason, at: Self.now, random: .random(in: 0..<1))
      trouble.error = RemoteError(
        reason.code, phase: reason.phase, "The jump host \(jump.name) was lost: \(reason.message)",
        rawCode: reason.rawCode)
      note(trouble, key)
    }
    var old = retired[key] ?? []
    if await connection.isRetired { old.append(connection) }
    while old.count > 2 {
      await old.removeFirst().dismiss(
        RemoteError(.lost, phase: .connection, "it did not answer for several of the hosts behind it."))
    }
    retired[key] = old.isEmpty ? nil : old
  }

  private func note(_ trouble: Trouble, _ key: Key) {
    troubles[key] = trouble
    guard troubles.count > 1024, let oldest = troubles.min(by: { $0.value.until < $1.value.until }) else { return }
    troubles[oldest.key] = nil
  }

  private static var now: Duration { .nanoseconds(Int64(clamping: EventLoop.now())) }

  private static func cancelled(_ jump: JumpHost) -> RemoteError {
    RemoteError(.closed, phase: .connect, "Connecting through the jump host \(jump.name) was cancelled.")
  }
}
