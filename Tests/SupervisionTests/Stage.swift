import Foundation
import Logging
import Supervision
import TestKit

/// Children on strings: each life reports what happens to it and does what the test tells it.
final class Stage: @unchecked Sendable {
  // Sendable is true: `strings`, `openings`, `deaf` and `contexts` are only touched while `lock` is held.
  enum Command {
    case finish, crash, cancelled
    case answer(@Sendable () -> Void)
  }

  /// What the next start of a child does.
  enum Opening {
    case lives, fails, ignores, hangs
  }

  struct Crash: Error, CustomStringConvertible {
    var description: String
  }

  let log = EventLog<String>(capacity: 1_000_000)
  let events = EventLog<SupervisionEvent>()
  let clock: any Clock<Duration>
  let zombies: ZombieCounter
  private let lock = NSLock()
  private var strings: [String: [AsyncStream<Command>.Continuation]] = [:]
  private var openings: [String: [Opening]] = [:]
  private var always: [String: Opening] = [:]
  private var deaf: Set<String> = []
  private var held: [ChildContext] = []

  init(_ clock: any Clock<Duration> = ContinuousClock(), zombieLimit: Int = 16) {
    self.clock = clock
    zombies = ZombieCounter(limit: zombieLimit)
  }

  var surroundings: Surroundings {
    var logger = Logger(label: "supervision.tests")
    logger.logLevel = .critical
    return Surroundings(clock: clock, logger: logger, zombies: zombies, seed: 1) { self.events.append($0) }
  }

  func supervisor(
    _ strategy: Strategy = .oneForOne, _ intensity: Intensity = Intensity(), autoShutdown: AutoShutdown = .never,
    maximum: Int? = nil, _ children: [ChildSpec] = []
  ) -> Supervisor {
    Supervisor(
      "top", strategy: strategy, intensity: intensity, autoShutdown: autoShutdown, maximumChildren: maximum,
      children: children, surroundings: surroundings)
  }

  func supervisor(_ children: [ChildSpec]) -> Supervisor { supervisor(.oneForOne, Intensity(), children) }

  func spec(
    _ id: String, _ restart: Restart = .permanent, digest: String = "", shutdown: Shutdown? = nil,
    significant: Bool = false, backoff: Backoff = .none, heartbeat: Duration? = nil
  ) -> ChildSpec {
    ChildSpec(
      id: id, digest: digest, restart: restart, shutdown: shutdown, isSignificant: significant, backoff: backoff,
      heartbeat: heartbeat
    ) { context in
      let opening = self.lock.withLock { () -> Opening in
        self.held.append(context)
        if let first = self.openings[id]?.first {
          self.openings[id]?.removeFirst()
          return first
        }
        return self.always[id] ?? .lives
      }
      switch opening {
      case .fails:
        self.log.append("fail \(id)")
        throw Crash(description: "no \(id)")
      case .ignores: return nil
      case .hangs:
        self.log.append("hang \(id)")
        try await self.wait()
        return nil
      case .lives: break
      }
      let (stream, string) = AsyncStream<Command>.makeStream()
      let isDeaf = self.lock.withLock {
        self.strings[id, default: []].append(string)
        return self.deaf.contains(id)
      }
      self.log.append("start \(id)")
      return Routine { try await self.live(id, isDeaf, stream) }
    }
  }

  /// Until cancelled.
  func wait() async throws {
    let (stream, string) = AsyncStream<Void>.makeStream()
    for await _ in stream {}
    withExtendedLifetime(string) {}
    throw CancellationError()
  }

  private func live(_ id: String, _ isDeaf: Bool, _ stream: AsyncStream<Command>) async throws {
    let obey: @Sendable () async throws -> Void = {
      for await command in stream {
        switch command {
        case .finish: return
        case .crash: throw Crash(description: "crash of \(id)")
        case .cancelled: throw CancellationError()
        case .answer(let answer): answer()
        }
      }
      self.log.append("stop \(id)")
      throw CancellationError()
    }
    // An unstructured task hears nothing of the cancellation of the one that waits for it.
    if isDeaf { try await Task { try await obey() }.value } else { try await obey() }
  }

  /// Tells the latest life of `id`.
  func tell(_ id: String, _ command: Command) {
    lock.withLock { strings[id]?.last }?.yield(command)
  }

  /// Ends every life that `id` ever had.
  func release(_ id: String) {
    for string in lock.withLock({ strings[id] ?? [] }) { string.yield(.finish) }
  }

  func next(_ id: String, _ openings: Opening...) { lock.withLock { self.openings[id] = openings } }

  func always(_ id: String, _ opening: Opening?) { lock.withLock { always[id] = opening } }

  func makeDeaf(_ ids: String...) { lock.withLock { deaf.formUnion(ids) } }

  func hears(_ ids: String...) { lock.withLock { deaf.subtract(ids) } }

  /// What each start was given, in order.
  var contexts: [ChildContext] { lock.withLock { held } }

  /// Runs the supervisor until `body` has ended, and waits for its end.
  /// - Returns: how the run ended.
  @discardableResult
  func running(
    _ supervisor: Supervisor, isReady: Bool = true, _ body: (Task<Void, any Error>) async throws -> Void = { _ in }
  ) async throws -> SupervisorError? {
    let run = Task { try await supervisor.run() }
    do {
      if isReady { try await within("up") { try await supervisor.ready() } }
      try await body(run)
    } catch {
      run.cancel()
      throw error
    }
    run.cancel()
    return try await ended(run)
  }

  func ended(_ run: Task<Void, any Error>) async throws -> SupervisorError? {
    do {
      try await within("the end of the run") { try await run.value }
      return nil
    } catch let error as SupervisorError { return error }
  }
}

struct Overdue: Error, CustomStringConvertible {
  var description: String
}

/// Fails a wait that no defect-free run needs a fraction of.
func within(_ what: String, _ body: @escaping @Sendable () async throws -> Void) async throws {
  try await withThrowingTaskGroup(of: Void.self) { group in
    group.addTask { try await body() }
    group.addTask {
      try await Task.sleep(for: .seconds(60))
      throw Overdue(description: "waited in vain for \(what)")
    }
    defer { group.cancelAll() }
    try await group.next()
  }
}

/// Gives the supervisor turns until the condition holds.
func until(
  _ what: String, isolation: isolated (any Actor)? = #isolation, _ condition: () async throws -> Bool
) async throws {
  let limit = ContinuousClock.now + .seconds(60)
  while try await !condition() {
    if ContinuousClock.now > limit { throw Overdue(description: "waited in vain until \(what)") }
    await Task.yield()
  }
}

extension Supervisor {
  /// "id:state" of each child, in order.
  func states() -> [String] { children().map { "\($0.id):\($0.state.rawValue)" } }

  func until(_ states: String...) async throws {
    let limit = ContinuousClock.now + .seconds(60)
    while self.states() != states {
      if ContinuousClock.now > limit { throw Overdue(description: "wanted \(states), found \(self.states())") }
      await Task.yield()
    }
  }
}

/// What a call is refused with.
func refusal(_ body: () async throws -> Void) async -> SupervisorError.Code? {
  do { try await body() } catch { return (error as? SupervisorError)?.code }
  return nil
}
