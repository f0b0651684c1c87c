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

  /// Polls as fast as `parallel` polls in flight allow.
  func saturate(seconds: Double, parallel: Int) async -> Tally {
    let clock = ContinuousClock()
    let start = clock.now
    let end = start + .seconds(seconds)
    let workers = min(max(1, parallel), connections.count)
    var tally = await withTaskGroup(of: Tally.self) { group in
      for worker in 0..<workers {
        group.addTask {
          var tally = Tally()
          var index = worker
          while clock.now < end {
            let begin = clock.now
            tally.add(await once(connections[index]), begin.duration(to: clock.now))
            index += workers
            if index >= connections.count { index = worker }
          }
          return tally
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
    let total = Int(min(seconds * rate, 1e7))
    var tally = await withTaskGroup(of: Tally.self) { group in
      var tally = Tally()
      for number in 0..<total {
        let due = start + .seconds(Double(number) / rate)
        if due > clock.now { try? await clock.sleep(until: due, tolerance: .zero) }
        group.addTask {
          var one = Tally()
          one.add(await once(connections[number % connections.count]), due.duration(to: clock.now))
          return one
        }
        // What has ended is taken in now and then, so that results do not pile up.
        if number % 64 == 63, let ended = await group.next() { tally.merge(ended) }
      }
      for await ended in group { tally.merge(ended) }
      return tally
    }
    tally.wall = start.duration(to: clock.now).seconds
    return tally
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
