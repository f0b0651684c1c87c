internal import ArgumentParser
internal import Foundation
internal import Logging
internal import Remote
internal import SSH

/// Holds connections to an sshd on loopback and polls them: four files of /proc in one `ask`.
struct SSHBenchmark: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "ssh", abstract: "CPU, memory and latency of held SSH connections to an sshd of our own on loopback.")

  @Option(help: "Connections to hold.")
  var connections = 50
  @Option(help: "Rounds; figures are those of the median round.")
  var rounds = 3
  @Option(help: "Seconds of a round.")
  var seconds = 5.0
  @Option(help: "Polls a second over all connections; without it as many as possible, `parallel` in flight.")
  var paced: Double?
  @Option(help: "Polls or logins in flight.")
  var parallel = 8
  @Option(help: "Where to write the figures as JSON.")
  var json: String?

  func validate() throws {
    guard (1...10_000).contains(connections), (1...1000).contains(rounds), seconds > 0, seconds <= 3600, parallel > 0
    else { throw ValidationError("Out of range.") }
  }

  func run() async throws {
    let server = try LocalServer(addresses: connections)
    defer { server.stop() }
    let group = try EventLoopGroup(count: 1, connects: .unlimited)
    let metrics = SSHMetrics()
    let policy = HostKeyPolicy(mode: .strict, knownHosts: [server.directory + "/known_hosts"], pin: nil)
    let connectors = (0..<connections).map { index in
      SSHConnector(
        host: server.addresses[index % server.addresses.count], port: server.port, user: server.user,
        credentials: [.keyFile(server.directory + "/key")], hostKeys: policy, group: group, metrics: metrics,
        logger: Logger(label: "benchmark"))
    }
    try await awaitServer(connectors[0])
    let idle = Usage.memory()
    let before = Usage.now()
    let files = ["/proc/stat", "/proc/meminfo", "/proc/loadavg", "/proc/uptime"]
    let fleet = await Fleet.connect(connectors, parallel: parallel, poll: .files(files))
    let login = (Usage.now().cpu - before.cpu) * 1000 / Double(connections)
    await fleet.warmUp(parallel: parallel)
    guard fleet.failed == 0 else { throw ValidationError("\(fleet.failed) of \(connections) logins failed.") }

    var results: [Round] = []
    print("round  polls  errors  KiB/poll  cpu ms/poll  switches/poll  p50 ms  p99 ms")
    for number in 1...rounds {
      let start = Usage.now()
      let tally: Tally
      if let paced {
        tally = await fleet.pace(seconds: seconds, rate: paced)
      } else {
        tally = await fleet.saturate(seconds: seconds, parallel: parallel)
      }
      let end = Usage.now()
      let polls = Double(max(1, tally.latencies.count))
      let round = Round(
        polls: tally.latencies.count, errors: tally.errors, bytes_per_poll: Double(tally.bytes) / polls,
        cpu_ms_per_poll: (end.cpu - start.cpu) * 1000 / polls,
        switches_per_poll: Double(end.switches - start.switches) / polls, p50_ms: tally.latency(0.5),
        p99_ms: tally.latency(0.99))
      results.append(round)
      print(
        String(
          format: "%5d  %5d  %6d  %8.2f  %11.3f  %13.1f  %6.2f  %6.2f", number, round.polls, round.errors,
          round.bytes_per_poll / 1024, round.cpu_ms_per_poll, round.switches_per_poll, round.p50_ms, round.p99_ms))
    }
    let memory = Double(Usage.memory() - idle) / Double(connections)
    let median = results.sorted { $0.cpu_ms_per_poll < $1.cpu_ms_per_poll }[results.count / 2]
    let report = Report(
      connections: connections, seconds: seconds, paced_per_s: paced, parallel: parallel,
      connect_cpu_ms: login, memory_KiB_per_connection: memory, median: median, rounds: results)
    print(
      String(
        format: "median %.3f ms CPU a poll; login %.2f ms CPU; %.0f KiB (PSS) a connection", median.cpu_ms_per_poll,
        login, memory))
    if let json {
      let encoder = JSONEncoder()
      encoder.outputFormatting = [.prettyPrinted, .sortedKeys]
      try encoder.encode(report).write(to: URL(fileURLWithPath: json))
    }
    await fleet.close()
    await group.stop()
  }

  /// Tries to connect until the server listens, for ten seconds; this first login is not counted.
  private func awaitServer(_ connector: SSHConnector) async throws {
    let clock = ContinuousClock()
    let end = clock.now + .seconds(10)
    while true {
      do {
        return await (try connector.connection()).close()
      } catch {
        guard error.phase == .connect, clock.now < end else { throw error }
        try await clock.sleep(for: .milliseconds(50))
      }
    }
  }

  private struct Round: Codable {
    var polls: Int
    var errors: Int
    var bytes_per_poll: Double
    var cpu_ms_per_poll: Double
    var switches_per_poll: Double
    var p50_ms: Double
    var p99_ms: Double
  }

  private struct Report: Codable {
    var connections: Int
    var seconds: Double
    var paced_per_s: Double?
    var parallel: Int
    var connect_cpu_ms: Double
    var memory_KiB_per_connection: Double
    var median: Round
    var rounds: [Round]
  }
}
