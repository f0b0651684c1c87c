internal import Foundation
internal import Glibc
internal import Logging
package import Model
internal import MongoStorage
internal import Remote
internal import SSH
internal import Storage
internal import Transfer

/// Looks at everything that has to be right before the service can do its work.
package enum DoctorDesk {
  package enum State: String, Sendable {
    case good = "ok"
    case warning
    case bad
  }

  package struct Finding: Sendable {
    package var area: String
    package var state: State
    package var found: String
    package var remedy: String?

    init(_ area: String, _ state: State, _ found: String, remedy: String? = nil) {
      self.area = area
      self.state = state
      self.found = found
      self.remedy = remedy
    }
  }

  package static func examine(_ loaded: Reading<Configuration>) async -> [Finding] {
    var findings = [Finding("version", .good, "syscrap \(Version.text)")]
    findings += loaded.problems.map {
      Finding("configuration", $0.level == .refused ? .bad : .warning, $0.description, remedy: $0.hint)
    }
    findings += [library()] + [algorithms()]
    guard let configuration = loaded.value else { return findings }
    findings.append(
      Finding("configuration", .good, configuration.file ?? "none; the defaults count"))
    findings += keys(configuration) + [state(configuration)]
    let (store, documents) = await store(configuration)
    findings += store
    findings.append(clock())
    let (targets, refused, all) = targets(documents, configuration)
    findings += refused
    findings += await reach(targets, all, configuration)
    return findings
  }

  // MARK: This machine

  private static func library() -> Finding {
    let version = SSHLibrary.version
    let parts = version.split(separator: ".").compactMap { Int($0) }
    guard parts.count >= 2, (parts[0], parts[1]) >= (1, 11) else {
      return Finding(
        "libssh2", .warning, "\(version): no RSA-SHA2 keys, no AEAD ciphers, no encrypt-then-MAC",
        remedy: SystemClient.standard.program == nil
          ? "use ed25519 or ECDSA keys; for servers hardened to AEAD or ETM only install openssh-client"
          : "nothing: the system's ssh is used for what needs them")
    }
    return Finding("libssh2", .good, version)
  }

  private static func algorithms() -> Finding {
    Finding("algorithms", .good, SSHLibrary.offered)
  }

  private static func keys(_ configuration: Configuration) -> [Finding] {
    let present = configuration.ssh.identityFiles.filter { FileManager.default.fileExists(atPath: $0) }
    if present.isEmpty {
      return [
        Finding(
          "keys", .warning,
          "none of ssh.identity_files is there: \(configuration.ssh.identityFiles.joined(separator: ", "))",
          remedy: "make one with: ssh-keygen -t ed25519; or give targets an identity_file of their own")
      ]
    }
    return present.map { path in
      var status = stat()
      guard stat(path, &status) == 0, access(path, R_OK) == 0 else {
        return Finding("keys", .bad, "\(path) cannot be read", remedy: "check its owner")
      }
      guard status.st_mode & 0o077 == 0 else {
        return Finding("keys", .bad, "\(path) can be read by others", remedy: "chmod 600 \(path)")
      }
      return Finding("keys", .good, path)
    }
  }

  private static func state(_ configuration: Configuration) -> Finding {
    let path = configuration.stateDirectory
    var status = stat()
    guard stat(path, &status) == 0 else {
      return Finding("state", .good, "\(path) is made at the first start")
    }
    guard access(path, W_OK | X_OK) == 0 else {
      return Finding("state", .bad, "\(path) cannot be written", remedy: "check its owner, or set state_dir")
    }
    return status.st_mode & 0o077 == 0
      ? Finding("state", .good, path)
      : Finding("state", .warning, "\(path) is open to others", remedy: "chmod 700 \(path)")
  }

  private static func store(_ configuration: Configuration) async -> ([Finding], [Document]) {
    do throws(StorageError) {
      let storage = try await Stores.open(
        configuration, logger: Logger(label: "syscrap") { _ in SwiftLogNoOpLogHandler() })
      var facts = try await storage.check()
      // This handle asks once and goes; whether a service watches is in that service's log.
      facts["watching"] = nil
      var documents: [Document] = []
      for kind in DocumentKind.allCases { documents += try await storage.documents(kind) }
      var more: [Finding] = []
      if let mongo = storage as? MongoStorage { more.append(clocks(try await mongo.clockDifference())) }
      await storage.close()
      let shown = facts.sorted { $0.key < $1.key }.map { "\($0.key) \($0.value.text ?? $0.value.json())" }
      return (
        [Finding("store", .good, "\(configuration.storeName): " + shown.joined(separator: ", "))] + more, documents
      )
    } catch {
      let remedy =
        switch configuration.store {
        case .sqlite: "check the path in store and its owner"
        case .mongodb:
          "is mongod running, does the address lead to it, and may store_username read and write this database?"
        }
      return ([Finding("store", .bad, "\(configuration.storeName): \(error.message)", remedy: remedy)], [])
    }
  }

  /// No decision compares clocks of two machines, but people read times that come from both.
  private static func clocks(_ difference: Double) -> Finding {
    let seconds = String(format: "%.3f", abs(difference))
    let found = "the server's clock is \(seconds) s \(difference < 0 ? "behind" : "ahead of") this machine's"
    return abs(difference) < 2
      ? Finding("store clock", .good, found)
      : Finding("store clock", .warning, found, remedy: "let both be set by NTP")
  }

  private static func clock() -> Finding {
    let year = Instant.tag(Date()) / 10_000_000_000
    return (2025...2100).contains(year)
      ? Finding("clock", .good, Instant.format(Date()))
      : Finding("clock", .bad, Instant.format(Date()), remedy: "set this machine's clock")
  }

  // MARK: Targets

  /// The targets that count, and a finding for each that is refused: that one is not tried.
  private static func targets(
    _ documents: [Document], _ configuration: Configuration
  ) -> (targets: [Target], refused: [Finding], all: [String: Target]) {
    // The service's own memory says whose a name is that two documents claim.
    let kept = (try? DocumentMemory.file(configuration.documentsPath)).flatMap { $0 }
      .flatMap { try? DocumentMemory.content($0, place: configuration.storeName) }
    return sift(documents, names: kept?.names ?? [:])
  }

  package static func examine(_ documents: [Document], names: [String: String]) -> ([Target], [Finding]) {
    let (targets, refused, _) = sift(documents, names: names)
    return (targets, refused)
  }

  /// `all` holds the switched off ones, too: others may be reached through them.
  private static func sift(
    _ documents: [Document], names: [String: String]
  ) -> (targets: [Target], refused: [Finding], all: [String: Target]) {
    let checks = DocumentChecks.standard
    let outcomes = documents.map { ($0, checks.read($0)) }
    let set = DocumentSet.read(outcomes.filter(\.1.isUsable).map(\.0), available: checks.available).set
    let problems = (outcomes.flatMap(\.1.problems) + set.check(owners: names)).filter { $0.level == .refused }
    let usable = set.removing(refusedBy: problems).targets
    let ids = Set(usable.map(\.id))
    let refused = documents.filter {
      $0.kind == .targets && !ids.contains($0.id) && $0.fields["enabled"] != .bool(false)
    }
    let findings = refused.map { document in
      let problem = problems.first { $0.kind == document.kind.rawValue && $0.id == document.id }
      let reason = problem.map { [$0.path, $0.reason].filter { !$0.isEmpty }.joined(separator: ": ") }
      return Finding(
        "target \(document.fields["target"]?.text ?? document.id)", .bad,
        "refused: \(reason ?? "see syscrap get problems")", remedy: problem?.hint)
    }
    let all = Dictionary(usable.map { ($0.name, $0) }, uniquingKeysWith: { first, _ in first })
    return (usable.filter(\.isEnabled), findings.sorted { $0.area < $1.area }, all)
  }

  /// At most 50 targets are tried, eight at a time.
  private static func reach(
    _ targets: [Target], _ all: [String: Target], _ configuration: Configuration
  ) async -> [Finding] {
    guard !targets.isEmpty else { return [] }
    guard let group = try? EventLoopGroup(count: 1, connects: .init(configuration.ssh.connect)) else {
      return [Finding("targets", .bad, "no event loop could be made")]
    }
    let connectors = Connectors(
      configuration: configuration.ssh, group: group, metrics: SSHMetrics(),
      logger: Logger(label: "syscrap") { _ in SwiftLogNoOpLogHandler() }, pool: nil, target: { all[$0] })
    var findings: [Finding] = []
    await withTaskGroup(of: Finding.self) { tasks in
      var rest = targets.prefix(50)[...]
      func next() {
        guard let target = rest.popFirst() else { return }
        tasks.addTask { await examine(target, connectors) }
      }
      for _ in 0..<8 { next() }
      for await finding in tasks {
        findings.append(finding)
        next()
      }
    }
    await group.stop()
    return findings.sorted { $0.area < $1.area }
  }

  private static func examine(_ target: Target, _ connectors: Connectors) async -> Finding {
    let area = "target \(target.name)"
    do {
      let connection = try await connectors.connector(for: target).connect()
      let facts = await connection.facts
      await connection.close()
      return Finding(
        area, .good,
        "\(facts.serverBanner), \(facts.hostKeyType), \(facts.keyExchange), \(facts.cipher), \(facts.mac), "
          + "logged in by \(facts.authentication), transport \(facts.transport)"
          + (facts.jump.isEmpty ? "" : ", through \(facts.jump)"))
    } catch {
      return Finding(area, .bad, error.description)
    }
  }
}
