internal import Foundation
internal import Glibc
package import Model

/// `host[:port]` or `[v6]:port`, with a user before it where one is given.
package struct HostPlace: Sendable, Hashable {
  package var user: String?
  package var host: String
  package var port: Int

  /// - Returns: nil when it is none.
  package init?(_ text: String) {
    var rest = Substring(text)
    if let at = rest.lastIndex(of: "@") {
      user = String(rest[..<at])
      rest = rest[rest.index(after: at)...]
      if user?.isEmpty != false { return nil }
    }
    port = 22
    if rest.hasPrefix("[") {
      guard let end = rest.firstIndex(of: "]") else { return nil }
      host = String(rest[rest.index(after: rest.startIndex)..<end])
      let tail = rest[rest.index(after: end)...]
      if !tail.isEmpty {
        guard tail.first == ":", let number = Int(tail.dropFirst()), (1...65_535).contains(number) else { return nil }
        port = number
      }
    } else if rest.count(where: { $0 == ":" }) == 1, let colon = rest.firstIndex(of: ":") {
      guard let number = Int(rest[rest.index(after: colon)...]), (1...65_535).contains(number) else { return nil }
      port = number
      host = String(rest[..<colon])
    } else {
      host = String(rest)
    }
    // A host is looked up and shown: no spaces, no control characters, no option in disguise.
    guard !host.isEmpty, host.utf8.count <= 255, !host.hasPrefix("-"),
      host.utf8.allSatisfy({ $0 > 0x20 && $0 != 0x7F && $0 != UInt8(ascii: "/") })
    else { return nil }
  }
}

/// What `syscrap quick` makes of a few hosts: a configuration file in its state folder, and documents with vitals and
/// sensible reactions.
package struct QuickSetup: Sendable {
  package struct Failure: Error, CustomStringConvertible {
    package var description: String
  }

  package struct Host: Sendable {
    package var name: String
    package var host: String
    package var port: Int
  }

  package let documents: [Document]
  package let hosts: [Host]
  package var targets: [String] { hosts.map(\.name) }
  private let stateDirectory: String
  private let settings: [String: Value]

  package var configurationPath: String { stateDirectory + "/syscrap.yaml" }

  /// - Parameters:
  ///   - hosts: `user@host[:port]`; none: this machine.
  ///   - identities, knownHosts: files; none: the person's own.
  ///   - listen: `address:port`; nil: 127.0.0.1:7070, or a free port when that is taken.
  package init(
    hosts: [String], stateDirectory: String, identities: [String], knownHosts: [String], listen: String?,
    acceptsNewKeys: Bool, logLevel: String
  ) throws {
    let base = PathBase.current
    self.stateDirectory = base.absolute(stateDirectory)
    let me = ProcessInfo.processInfo.environment["USER"].flatMap { $0.isEmpty ? nil : $0 } ?? "root"
    var documents: [Document] = []
    var places: [Host] = []
    for text in hosts.isEmpty ? ["\(me)@127.0.0.1"] : hosts {
      guard let place = HostPlace(text) else {
        throw OperationError(.usage, "\"\(text)\" is not user@host[:port], for example root@web-1.example.org:2222")
      }
      let name = place.port == 22 ? place.host : "\(place.host):\(place.port)"
      guard !places.contains(where: { $0.name == name }) else { continue }
      places.append(Host(name: name, host: place.host, port: place.port))
      documents.append(
        Document(
          kind: .targets, id: name,
          fields: [
            "target": .string(name), "host": .string(place.host), "port": .int(Int64(place.port)),
            "user": .string(place.user ?? me),
          ]))
    }
    self.hosts = places
    self.documents = documents + Self.defaults

    var ssh: [String: Value] = [
      "user": .string(me), "host_key_policy": .string(acceptsNewKeys ? "accept-new" : "strict"),
      "known_hosts": .array(
        ((knownHosts.isEmpty ? ["~/.ssh/known_hosts"] : knownHosts).map { base.absolute($0) }
          + [self.stateDirectory + "/known_hosts"]).map(Value.string)),
    ]
    let keys = identities.isEmpty ? Self.ownKeys(base) : identities.map { base.absolute($0) }
    if !keys.isEmpty { ssh["identity_files"] = .array(keys.map(Value.string)) }
    settings = [
      "state_dir": .string(self.stateDirectory), "store": .string("sqlite:\(self.stateDirectory)/syscrap.db"),
      "ssh": .object(ssh), "http": ["listen": .string(listen ?? Self.freeAddress())],
      "log": ["level": .string(logLevel)],
    ]
  }

  /// Writes the configuration, so that every other command finds the service, and reads it back checked.
  package func writeConfiguration() throws -> Configuration {
    // A running service's configuration is not overwritten; the lock is given back at once.
    _ = try InstanceLock(stateDirectory + "/lock", guarding: "the state folder \(stateDirectory)")
    try PrivateFile.write(
      "# Written by 'syscrap quick'.\n" + DocumentEncoder().yaml([.object(settings)]), to: configurationPath)
    let loaded = Configuration.load(path: configurationPath)
    guard let configuration = loaded.value else {
      throw Failure(
        description: loaded.problems.filter { $0.level == .refused }.map(\.description).joined(separator: "\n"))
    }
    return configuration
  }

  /// Vitals everywhere, and what nobody wants to learn too late.
  private static let defaults: [Document] = [
    Document(
      kind: .aggregation_options, id: "generic",
      fields: [
        "target": "generic",
        "metrics": [
          "Vitals.CPU": ["interval": "10s"], "Vitals.RAM": ["interval": "10s"], "Vitals.Swap": ["interval": "10s"],
          "Vitals.Disk": ["interval": "60s"],
        ],
      ]),
    Document(
      kind: .reaction_targets, id: "unreachable",
      fields: [
        "reaction": "Presence", "target": "generic", "metrics": ["Connection": ["for": "30s"]], "severity": "critical",
      ]),
    Document(
      kind: .reaction_targets, id: "disk-full",
      fields: [
        "reaction": "Range", "target": "generic", "metrics": ["Vitals.Disk": ["max": 90, "clear": ["max": 88]]],
        "severity": "critical",
      ]),
    Document(
      kind: .reaction_targets, id: "memory-short",
      fields: [
        "reaction": "Range", "target": "generic",
        "metrics": ["Vitals.RAM": ["max": 95, "for": "2m", "clear": ["max": 90]]], "severity": "warning",
      ]),
    Document(
      kind: .reaction_targets, id: "cpu-busy",
      fields: [
        "reaction": "Range", "target": "generic",
        "metrics": ["Vitals.CPU": ["max": 95, "for": "10m", "clear": ["max": 80]]], "severity": "warning",
      ]),
  ]

  private static func ownKeys(_ base: PathBase) -> [String] {
    ["~/.ssh/id_ed25519", "~/.ssh/id_ecdsa"].map { base.absolute($0) }
      .filter { FileManager.default.isReadableFile(atPath: $0) }
  }

  /// The usual address, or port 0 (the system chooses) when somebody else listens there.
  private static func freeAddress() -> String {
    let probe = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
    guard probe >= 0 else { return "127.0.0.1:7070" }
    defer { close(probe) }
    var yes: Int32 = 1
    setsockopt(probe, SOL_SOCKET, SO_REUSEADDR, &yes, socklen_t(MemoryLayout<Int32>.size))
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_port = UInt16(7070).bigEndian
    address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
    let isFree = withUnsafePointer(to: &address) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        bind(probe, $0, socklen_t(MemoryLayout<sockaddr_in>.size)) == 0
      }
    }
    return isFree ? "127.0.0.1:7070" : "127.0.0.1:0"
  }
}

extension Configuration {
  /// As ``load(_:)``, with this process's environment and folder.
  package static func load(path: String?) -> Reading<Configuration> { load(.process(path: path)) }
}
