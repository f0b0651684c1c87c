internal import App
internal import ArgumentParser
internal import Foundation
internal import Model

struct Quick: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Watch hosts at once: embedded store, vitals and connection reactions, dashboard.",
    discussion: "Without hosts it watches this machine through its sshd. Stop it with Ctrl-C; start it again to go on.")
  @Argument(help: "user@host[:port]; several may be given.") var hosts: [String] = []
  @Flag(name: .long, help: "Trust host keys that are not known yet, and remember them.") var acceptNew = false
  @Option(name: .long, help: "Where the store and all else is kept.") var stateDir: String = "state"
  @Option(name: .long, help: "A private key to log in with; may be repeated.") var identity: [String] = []
  @Option(name: .long, help: "A known_hosts file to trust; may be repeated.") var knownHosts: [String] = []
  @Option(name: .long, help: "Where the page listens; the default moves on when it is taken.") var listen: String?
  @Option(name: .long, help: "Log level: trace, debug, info, notice, warning, error.") var log: String = "warning"

  func run() async throws {
    let setup = try QuickSetup(
      hosts: hosts, stateDirectory: stateDir, identities: identity, knownHosts: knownHosts, listen: listen,
      acceptsNewKeys: acceptNew, logLevel: log)
    let configuration = try setup.writeConfiguration()
    if !acceptNew { try await askForTrust(setup, configuration) }
    try await Running.service(configuration, documents: setup.documents) { url, token in
      Print.result("dashboard: \(url)/login?token=\(token)")
      Print.message(
        "watching \(setup.targets.joined(separator: ", ")); in another terminal: "
          + "syscrap top --watch --config \(setup.configurationPath)")
    }
  }

  /// Shows the keys of hosts that nobody knows yet, and asks before they are trusted; without a terminal it only says.
  private func askForTrust(_ setup: QuickSetup, _ configuration: Configuration) async throws {
    let trust = try TrustDesk(configuration)
    for target in setup.hosts {
      let offer: TrustDesk.Offer
      do {
        offer = try await trust.offer(host: target.host, port: target.port)
      } catch {
        Print.message(Terminal.safe("\(target.name): its host key could not be read yet: \(error)"))
        continue
      }
      guard !offer.isTrusted else { continue }
      Print.message(Terminal.safe("\(target.name): the host key is not known: \(offer.type) \(offer.fingerprint)"))
      if offer.isChanged {
        Print.message(Terminal.safe("  another key is known for this host; it is not connected: \(offer.explanation)"))
        continue
      }
      guard Terminal.output(0).isTerminal else {
        Print.message(
          "  it is not trusted without being asked: start again with --accept-new, or: syscrap trust accept \(target.host):\(target.port) "
            + "--config \(setup.configurationPath)")
        continue
      }
      Print.message("  trust it from now on? [y/N]")
      if readLine()?.lowercased().hasPrefix("y") == true { try await trust.accept(offer) }
    }
    await trust.close()
  }
}
