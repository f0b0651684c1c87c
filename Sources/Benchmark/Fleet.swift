internal import Foundation
internal import Logging
internal import Remote
internal import SSH

/// Held connections to many addresses, and ways to poll them.
struct Fleet: Sendable {
  /// What one poll asks.
  enum Poll: Sendable {
    /// Several commands at once, each in a channel of its own.
    case commands([String])
    /// One command.
    case command(String)
    /// Files, as one `ask`.
    case files([String])
  }

  let connections: [Connection]
  let failed: Int
  let poll: Poll

  /// Connects to all addresses, `parallel` at a time.
  static func connect(
    _ connectors: [SSHConnector], parallel: Int, poll: Poll
  ) async -> Fleet {
    let next = Queue(connectors.indices)
    let made = await withTaskGroup(of: [(Int, Connection)].self) { group in
      for _ in 0..<max(1, min(parallel, connectors.count)) {
        group.addTask {
          var mine: [(Int, Connection)] = []
          while let index = await next.take() {
            do {
              mine.append((index, try await connectors[index].connection()))
            } catch {
              FileHandle.standardError.write(Data("connect \(index): \(error)\n".utf8))
            }
          }
          return mine
        }
      }
      return await group.reduce(into: []) { $0 += $1 }
    }
    let connections = made.sorted { $0.0 < $1.0 }.map(\.1)
    return Fleet(connections: connections, failed: connectors.count - connections.count, poll: poll)
  }

  func close() async {
    for connection in connections { await connection.close() }
  }

  /// Asks each once, so that every host's reader is at work.
  func warmUp(parallel: Int) async {
    let next = Queue(connections.indices)
    await withTaskGroup(of: Void.self) { group in
      for _ in 0..<max(1, parallel) {
        group.addTask {
          while let index = await next.take() { _ = await once(connections[index]) }
        }
      }
    }
  }

  /// Polls as fast as `parallel` polls in flight allow. Each runs on the thread of the connections it asks.
  func saturate(seconds: Double, parallel: Int) async -> Tally {
    let clock = ContinuousClock()
    let start = clock.now
    let end = start + .seconds(seconds)
    let loops = byLoop()
    var tally = await withTaskGroup(of: Tally.self) { group in
      for (index, part) in loops.enumerated() {
        // What does not divide evenly goes to the first ones.
        let share = parallel / loops.count + (index < parallel % loops.count ? 1 : 0)
        let workers = min(share, part.connections.count)
        for worker in 0..<workers {
          group.addTask(executorPreference: part.loop.tasks) {
            var tally = Tally()
            var index = worker
            while clock.now < end {
              let begin = clock.now
              tally.add(await once(part.connections[index]), begin.duration(to: clock.now))
              index += workers
              if index >= part.connections.count { index = worker }
            }
            return tally
          }
        }
      }
      return await group.reduce(into: Tally()) { $0.merge($1) }
    }
    tally.wall = start.duration(to: clock.now).seconds
    return tally
  }

  /// `rate` polls a second over all targets; latency counts from the moment a poll was due.
  func pace(seconds: Double, rate: Double) async -> Tally {
    let clock = ContinuousClock()
    let start = clock.now
    guard rate > 0, !connections.isEmpty else { return Tally() }
    let loops = byLoop()
    var tally = await withTaskGroup(of: Tally.self) { group in
      for (index, part) in loops.enumerated() {
        let share = rate * Double(part.connections.count) / Double(connections.count)
        group.addTask(executorPreference: part.loop.tasks) {
          // The loops' polls lie between one another's.
          await pace(part, seconds: seconds, rate: share, offset: Double(index) / Double(loops.count) / share)
        }
      }
      return await group.reduce(into: Tally()) { $0.merge($1) }
    }
    tally.wall = start.duration(to: clock.now).seconds
    return tally
  }

  private func pace(_ part: Part, seconds: Double, rate: Double, offset: Double) async -> Tally {
    let start = EventLoop.now()
    let total = Int(min((seconds - offset) * rate, 1e7))
    return await withTaskGroup(of: Tally.self) { group in
      var tally = Tally()
      for number in 0..<max(0, total) {
        let due = start &+ UInt64((offset + Double(number) / rate) * 1e9)
        if due > EventLoop.now() { await part.loop.sleep(until: due) }
        group.addTask(executorPreference: part.loop.tasks) {
          var one = Tally()
          let bytes = await once(part.connections[number % part.connections.count])
          one.add(bytes, .nanoseconds(Int64(clamping: EventLoop.now() &- due)))
          return one
        }
        // What has ended is taken in now and then, so that results do not pile up.
        if number % 64 == 63, let ended = await group.next() { tally.merge(ended) }
      }
      for await ended in group { tally.merge(ended) }
      return tally
    }
  }

  /// The connections of one loop.
  private struct Part: Sendable {
    var loop: EventLoop
    var connections: [Connection]
  }

  private func byLoop() -> [Part] {
    var parts: [ObjectIdentifier: Part] = [:]
    for connection in connections {
      parts[ObjectIdentifier(connection.loop), default: Part(loop: connection.loop, connections: [])].connections
        .append(connection)
    }
    return Array(parts.values)
  }

  /// One poll: the bytes that came, or nil when something failed.
  func once(_ connection: Connection) async -> Int? {
    do {
      switch poll {
      case .command(let line):
        let result = try await connection.run(Command(["/bin/sh", "-c", line], outputLimit: 1 << 30))
        return result.status == 0 ? result.output.count : nil
      case .commands(let lines):
        return bytes(try await connection.ask(lines.map { .run(Command(["/bin/sh", "-c", $0])) }))
      case .files(let paths):
        return bytes(try await connection.ask(paths.map { .read(path: $0) }))
      }
    } catch {
      return nil
    }
  }

  private func bytes(_ answers: [Answer]) -> Int? {
    var count = 0
    for answer in answers {
      switch answer {
      case .content(let bytes, _): count += bytes.count
      case .result(let result): count += result.output.count
      case .failed: return nil
      }
    }
    return count
  }
}

/// Hands out numbers, each once.
private actor Queue {
  private var rest: Range<Int>
  init(_ range: Range<Int>) { rest = range }
  func take() -> Int? { rest.popFirst() }
}

extension Duration {
  var seconds: Double {
    Double(components.seconds) + Double(components.attoseconds) / 1e18
  }
}
