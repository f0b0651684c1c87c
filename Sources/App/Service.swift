internal import Aggregation
internal import FoundationEssentials
internal import Gateway
internal import Glibc
package import Logging
package import Model
internal import MongoStorage
internal import Notifications
internal import SSH
internal import Storage
internal import Supervision
internal import Threads
internal import Transfer

/// The whole of Syscrap in one process: opens the store, plants the tree, and runs until it is told to end.
package struct Service: Sendable {
  /// Why the service ended, and what the process should do next.
  package enum End: Sendable, Hashable {
    /// Asked to; exit code 0.
    case stopped
    /// Touched or reloaded: the process starts itself anew.
    case restart
    /// The root's restart budget is spent, or too many lives are deaf; exit code 70.
    case exhausted(String)
  }

  /// The exit code of a service whose tree gave up.
  package static let exhaustedCode: Int32 = 70

  /// How long the tree has to stop; what is not done by then is left: starting up again is the recovery.
  package static let drain: Duration = .seconds(20)

  private let configuration: Configuration
  private let registry: PrometheusRegistry
  private let logger: Logger
  private let onReady: @Sendable (_ url: String, _ oneTimeToken: String) async -> Void
  private let signals: AsyncStream<ServiceSignal>

  /// - Parameters:
  ///   - registry: the process's metrics backend.
  ///   - signals: what the process is told from outside.
  ///   - onReady: called with the page's address and a one-time token each time the Gateway listens.
  package init(
    configuration: Configuration, registry: PrometheusRegistry, logger: Logger, signals: AsyncStream<ServiceSignal>,
    onReady: @escaping @Sendable (_ url: String, _ oneTimeToken: String) async -> Void = { _, _ in }
  ) {
    self.configuration = configuration
    self.registry = registry
    self.logger = logger
    self.signals = signals
    self.onReady = onReady
  }

  /// - Parameter documents: put into the store first, where they are not there yet.
  package func run(documents: [Document] = []) async throws -> End {
    let locks = try configuration.locks()
    defer { withExtendedLifetime(locks) {} }
    let stores = try await Stores.openForService(configuration, logger: logger)
    do {
      let end = try await run(stores, documents)
      await stores.storage.close()
      return end
    } catch {
      await stores.storage.close()
      throw error
    }
  }

  private func run(_ stores: Stores.ForService, _ documents: [Document]) async throws -> End {
    SharedCounters.sweep()
    let storage = stores.storage
    let parts = try Parts(configuration: configuration, stores: stores, registry: registry, logger: logger)
    try await Self.seed(documents, parts.desk)
    let token = try Self.token(configuration)
    let (reloading, reloads) = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))
    let (ends, endings) = AsyncStream.makeStream(of: End.self, bufferingPolicy: .bufferingOldest(1))
    let stop: @Sendable (End) -> Void = { endings.yield($0) }

    let watch = SelfWatch(notices: parts.notices, registry: registry, logger: logger, stop: stop)
    let surroundings = Surroundings(clock: parts.clock, logger: logger, observe: watch.observe)
    let operations = ServiceOperations(
      parts: parts, surroundings: surroundings,
      reload: {
        await self.reload(parts, stop)
      })
    let gateway = Self.gateway(configuration, token: token, operations, logger, onReady)
    let (root, poke) = Plantation(parts: parts, gateway: gateway, surroundings: surroundings, stop: stop).root()
    await operations.plant(root, poke: poke)
    if parts.leadership.isShared {
      await parts.board.standBy(parts.leadership.role.detail)
    } else {
      await parts.board.preset((try? await storage.episodes(reaction: nil, openOnly: true, limit: 100_000)) ?? [])
    }

    logger.info(
      "Started",
      metadata: ["version": "\(Version.text)", "pid": "\(ProcessName.pid)", "store": "\(configuration.storeName)"])
    let end = await withTaskGroup(of: End?.self) { group in
      group.addTask {
        do {
          try await root.run()
          return .stopped
        } catch {
          return .exhausted("\(error)")
        }
      }
      group.addTask {
        await watch.run()
        return nil
      }
      group.addTask {
        for await end in ends { return end }
        return nil
      }
      group.addTask {
        // A stop never waits behind a reload that is slow.
        for await signal in self.signals {
          switch signal {
          case .stop: return .stopped
          case .reload: reloads.yield()
          }
        }
        return nil
      }
      group.addTask {
        for await _ in reloading { await self.reload(parts, stop) }
        return nil
      }
      var end = End.stopped
      for await outcome in group {
        if let outcome {
          end = outcome
          break
        }
      }
      logger.info("Stopping", metadata: ["end": "\(end)"])
      await Self.drain(root, for: end, logger: logger)
      group.cancelAll()
      endings.finish()
      reloads.finish()
      return end
    }
    _ = await parts.recorder.flush()
    await parts.engine.shutdown()
    await parts.loops.stop()
    parts.pool.stop()
    logger.info("Stopped")
    return end
  }

  /// Puts documents into the store that are not there yet; what a person changed since stays.
  private static func seed(_ documents: [Document], _ desk: DocumentDesk) async throws {
    guard !documents.isEmpty else { return }
    let known = Set(try await desk.everything().map { "\($0.kind.rawValue)/\($0.id)" })
    let missing = documents.filter { $0.kind == .targets || !known.contains("\($0.kind.rawValue)/\($0.id)") }
    _ = try await desk.apply(missing, dryRun: false)
  }

  /// Stops the tree in order, within ``drain``. What is not done by then is left as it is: starting up is the recovery.
  static func drain(_ root: Supervisor, for end: End, logger: Logger) async {
    let overdue = Task {
      try await Task.sleep(for: drain)
      logger.critical("The tree did not stop in time; the process ends as it is")
      _exit(end == .stopped ? 0 : exhaustedCode)
    }
    await root.stop()
    while ![.stopped, .failed, .finished].contains(root.snapshot().state) {
      try? await Task.sleep(for: .milliseconds(20))
    }
    overdue.cancel()
  }

  /// Documents are read again at once; a changed and valid configuration restarts the service, a broken one is said and
  /// changes nothing.
  @discardableResult
  private func reload(_ parts: Parts, _ stop: @Sendable (End) -> Void) async -> Value {
    let loaded = Configuration.load(.process(path: configuration.file))
    guard let new = loaded.value else {
      for problem in loaded.problems { await parts.trouble.note(problem) }
      return [
        "outcome": "refused", "problems": .array(loaded.problems.map(\.value)),
      ]
    }
    if configuration.file != nil, new != configuration {
      logger.info("The configuration changed; the service restarts")
      stop(.restart)
      return ["outcome": "restarting"]
    }
    do {
      let snapshot = try await parts.refresh()
      // What kept a target away may have been mended: it is tried now.
      await parts.loops.hurryJumpHosts()
      for target in snapshot.targets.keys where await parts.board.state(of: target) != "connected" {
        await parts.aggregator.reconnect(target)
      }
      return ["outcome": "read", "problems": .int(Int64(snapshot.problems.count))]
    } catch {
      return ["outcome": "failed", "message": .string("\(error)")]
    }
  }

  private static func gateway(
    _ configuration: Configuration, token: String, _ operations: ServiceOperations, _ logger: Logger,
    _ onReady: @escaping @Sendable (String, String) async -> Void
  ) -> Gateway {
    let address: GatewayConfiguration.Address =
      switch configuration.http.listen {
      case .tcp(let host, let port): .tcp(host: host, port: port)
      case .unix(let path): .unix(path: path)
      }
    let addressPath = configuration.addressPath
    return Gateway(
      GatewayConfiguration(address: address, token: token), operations: operations, logger: logger,
      onListening: { url, token in
        do { try PrivateFile.write(url + "\n", to: addressPath) } catch {
          logger.warning("The service's address could not be written down", metadata: ["error": "\(error)"])
        }
        logger.info("Listening", metadata: ["http.address": "\(url)"])
        await onReady(url, token)
      })
  }

  /// The token file of the configuration, or one that is made anew at each start.
  private static func token(_ configuration: Configuration) throws -> String {
    if let path = configuration.http.tokenFile {
      guard let token = PrivateFile.read(path), token.utf8.count >= 16 else {
        throw PrivateFile.Failure(
          description: "http.token_file \(path): it must be readable and hold at least 16 characters")
      }
      return token
    }
    var generator = SystemRandomNumberGenerator()
    let token = (0..<4).map { _ in
      let hex = String(generator.next(), radix: 16)
      return String(repeating: "0", count: 16 - hex.count) + hex
    }.joined()
    try PrivateFile.write(token + "\n", to: configuration.tokenPath)
    return token
  }
}

/// What a process is told by signals.
package enum ServiceSignal: Sendable {
  case stop
  case reload
}

extension Configuration {
  /// What keeps a second service away from the same state folder and the same store.
  func locks() throws -> [InstanceLock] {
    var locks = [try InstanceLock(stateDirectory + "/lock", guarding: "the state folder \(stateDirectory)")]
    if case .sqlite(let path) = store {
      locks.append(try InstanceLock(path + ".lock", guarding: "the store \(path)"))
    }
    return locks
  }

  var storeName: String {
    switch store {
    case .sqlite(let path): "sqlite:\(path)"
    // Hosts and database; options are not what a person asks for here.
    case .mongodb(let uri): String(uri.prefix { $0 != "?" })
    }
  }

  /// Where the command line finds the token.
  package var shownTokenPath: String { http.tokenFile ?? tokenPath }
}
