internal import ArgumentParser
internal import Foundation
internal import Logging
internal import Remote
internal import SSH

/// Speaks the line protocol of the bench of SSH clients: READY once connected, then a DONE line for each order on stdin
/// (`sat SECS PAR`, `pace SECS RATE`, `stream`, `quit`). Targets are 127.1.x.y:2222, the account is `peersmon`, the host's
/// key stands in `$PEER_STATE/known_hosts`, the commands in POLL_A (one a line) and POLL_B.
struct PeerBenchmark: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "peer", abstract: "Speaks the bench of peers' protocol: READY, then DONE for each order on stdin.")

  @Option(help: "How many targets to hold connections to.")
  var n: Int
  @Option(help: "a: one exec channel per command; b: one exec channel; c: four files of /proc in one ask.")
  var mode: String
  @Option(help: "How many logins at a time.")
  var par: Int
  @Option(help: "The private key file.")
  var key: String

  func run() async throws {
    let environment = ProcessInfo.processInfo.environment
    let poll: Fleet.Poll
    switch mode {
    case "a": poll = .commands((environment["POLL_A"] ?? "").split(separator: "\n").map(String.init))
    case "b": poll = .command(environment["POLL_B"] ?? "")
    case "c": poll = .files(["/proc/stat", "/proc/meminfo", "/proc/loadavg", "/proc/uptime"])
    default: throw ValidationError("Mode \(mode) is not one of a, b, c.")
    }
    let group = try EventLoopGroup(count: 1, connects: .unlimited)
    let metrics = SSHMetrics()
    let known = (environment["PEER_STATE"] ?? "/tmp/peers/state") + "/known_hosts"
    let policy = HostKeyPolicy(mode: .strict, knownHosts: [known], pin: nil)
    let connectors = (0..<max(0, n)).map { index in
      SSHConnector(
        host: "127.1.\(index / 250).\(index % 250 + 1)", port: 2222, user: "peersmon", credentials: [.keyFile(key)],
        hostKeys: policy, channels: 8, group: group, metrics: metrics, logger: Logger(label: "benchmark"))
    }
    let fleet = await Fleet.connect(connectors, parallel: par, poll: poll)
    // The others open their long-lived channel while they connect.
    if case .files = poll { await fleet.warmUp(parallel: par) }
    print("READY connected=\(fleet.connections.count) failed=\(fleet.failed)")
    fflush(nil)
    while let line = readLine() {
      let words = line.split(separator: " ").map(String.init)
      switch words.first {
      case "sat":
        guard words.count > 2, let seconds = Double(words[1]), let parallel = Int(words[2]) else { continue }
        print(await fleet.saturate(seconds: seconds, parallel: parallel).line)
      case "pace":
        guard words.count > 2, let seconds = Double(words[1]), let rate = Double(words[2]) else { continue }
        print(await fleet.pace(seconds: seconds, rate: rate).line)
      case "stream":
        guard let connection = fleet.connections.first else { continue }
        let stream = Fleet(connections: [connection], failed: 0, poll: .command(environment["POLL_B"] ?? ""))
        let clock = ContinuousClock()
        let start = clock.now
        var tally = Tally()
        tally.add(await stream.once(connection), start.duration(to: clock.now))
        tally.wall = start.duration(to: clock.now).seconds
        print(tally.line)
      case "quit":
        await fleet.close()
        await group.stop()
        return
      default: continue
      }
      fflush(nil)
    }
    await fleet.close()
    await group.stop()
  }
}
