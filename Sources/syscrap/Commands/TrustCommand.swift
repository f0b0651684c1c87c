internal import App
internal import ArgumentParser
internal import Foundation
internal import Model

struct Trust: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Host keys: look, accept, replace. Only the service's own known_hosts is ever written.",
    subcommands: [Scan.self, List.self, Accept.self, Replace.self])

  struct Place: ParsableArguments {
    @OptionGroup var common: CommonOptions
    @Argument(help: "A target's name, or host[:port].") var target: String

    /// A running service tries again now what it could not connect to.
    func tellService() async {
      guard let configuration = try? common.load(), let client = try? await ServiceClient.connect(configuration) else {
        return
      }
      _ = try? await client.post(["reload"])
    }

    /// Host and port of a target's document, else of what was written.
    func resolve() async throws -> (host: String, port: Int, configuration: Configuration) {
      let configuration = try common.load()
      let name = target
      let stored = try? await common.serviceOrStore { client in
        try await client.get(["objects", "targets", name]).elements ?? []
      } store: { desk in
        try await desk.get(kind: "targets", name: name, labels: [:], limit: 1)
      }
      // Before the first start the documents are only in the files that the configuration names.
      let found =
        stored?.first?.fields
        ?? DocumentFiles.read(configuration.documents, base: .current).documents.first {
          $0.kind == .targets && ($0.id == name || $0.fields["target"]?.text == name)
        }?.fields
      if let fields = found {
        return (
          fields["host"]?.text ?? fields["target"]?.text ?? name, Int(fields["port"]?.integer ?? 22), configuration
        )
      }
      guard let place = HostPlace(name) else {
        throw Ending(Exit.notFound, "there is no target \"\(Terminal.safe(name))\", and it is no host[:port] either")
      }
      return (place.host, place.port, configuration)
    }
  }

  struct Scan: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Ask a host for its key, without logging in.")
    @OptionGroup var place: Place

    func run() async throws {
      let (host, port, configuration) = try await place.resolve()
      let offer = try await TrustDesk.asked(configuration) { try await $0.offer(host: host, port: port) }
      Print.result("\(offer.type) \(offer.fingerprint)")
      Print.message(offer.isTrusted ? "trusted" : Terminal.safe("not trusted: \(offer.explanation)"))
    }
  }

  struct List: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "The keys that are known for a host, and from where.")
    @OptionGroup var place: Place

    func run() async throws {
      let (host, port, configuration) = try await place.resolve()
      let known = try await TrustDesk.asked(configuration) { try await $0.known(host: host, port: port) }
      if known.isEmpty { return Print.message("none") }
      var table = Table(["MARKER", "TYPE", "FINGERPRINT", "FILE"])
      for key in known {
        table.add(
          Table.Cell(key.marker ?? "–", key.marker == nil ? nil : .red), Table.Cell(key.type),
          Table.Cell(key.fingerprint), Table.Cell(key.place))
      }
      Print.result(table.text(on: .output()))
    }
  }

  struct Accept: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Trust a host's key from now on.",
      discussion: "The fingerprint has to be given, unless a person answers at the terminal.")
    @OptionGroup var place: Place
    @Option(name: .long, help: "The expected fingerprint, SHA256:…") var fingerprint: String?

    func run() async throws {
      let (host, port, configuration) = try await place.resolve()
      let (fingerprint, place) = (fingerprint, place)
      try await TrustDesk.asked(configuration) { desk in
        let offer = try await desk.offer(host: host, port: port)
        if offer.isTrusted { return Print.message("\(offer.fingerprint) is trusted already") }
        if offer.isChanged {
          throw Ending(Exit.denied, Terminal.safe("another key is known for this host: \(offer.explanation)"))
        }
        try Confirmation.ask(offer, fingerprint)
        try await desk.accept(offer)
        Print.result(Terminal.safe("\(host):\(port) \(offer.type) \(offer.fingerprint) trusted"))
        await place.tellService()
      }
    }
  }

  struct Replace: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Trust a host's new key in place of the old one.",
      discussion: "Find out first, by another way, why the key changed.")
    @OptionGroup var place: Place
    @Option(name: .long, help: "The expected fingerprint, SHA256:…") var fingerprint: String?

    func run() async throws {
      let (host, port, configuration) = try await place.resolve()
      let (fingerprint, place) = (fingerprint, place)
      try await TrustDesk.asked(configuration) { desk in
        let offer = try await desk.offer(host: host, port: port)
        try Confirmation.ask(offer, fingerprint)
        let outcome = try await desk.replace(offer)
        Print.result(Terminal.safe("\(host):\(port) \(offer.type) \(offer.fingerprint) trusted"))
        for line in outcome { Print.message(Terminal.safe(line)) }
        await place.tellService()
      }
    }
  }
}

/// A person, or a fingerprint that a person had, confirms a key.
enum Confirmation {
  static func ask(_ offer: TrustDesk.Offer, _ expected: String?) throws {
    if let expected {
      guard expected == offer.fingerprint else {
        throw Ending(
          Exit.denied, "the host shows \(offer.fingerprint), not \(Terminal.safe(expected)): nothing was changed")
      }
      return
    }
    guard Terminal.output(0).isTerminal else {
      throw Ending(
        Exit.usage,
        "the host shows \(offer.type) \(offer.fingerprint); confirm it with --fingerprint \(offer.fingerprint)")
    }
    Print.message("the host shows \(offer.type) \(offer.fingerprint)\ntype the fingerprint to trust it:")
    guard readLine()?.trimmed == offer.fingerprint else {
      throw Ending(Exit.denied, "this is not the fingerprint: nothing was changed")
    }
  }
}
