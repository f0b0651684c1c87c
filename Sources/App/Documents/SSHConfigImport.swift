internal import Foundation
internal import Glibc
package import Model

/// Makes documents of targets out of an ssh_config file. What a host's settings come to is asked of OpenSSH's client
/// (`ssh -G`), so that patterns, `Include` and `Match` mean what they mean to it.
package struct SSHConfigImport: Sendable {
  /// Prints what the client makes of a name: lines of a keyword in lower case, a blank and the value.
  package typealias Resolve = @Sendable (_ name: String) throws -> String

  package struct Result: Sendable {
    /// Documents of kind target, in the order of the file.
    package var documents: [Value] = []
    /// What a person should know, a line each.
    package var remarks: [String] = []
  }

  /// Why a name could not be looked up.
  package struct Failure: Error, CustomStringConvertible {
    package var description: String
    package init(_ description: String) { self.description = description }
  }

  /// Most hosts that are taken from a file.
  package static let limit = 10_000

  private let path: String
  private let home: String
  private let resolve: Resolve

  /// - Parameters:
  ///   - path: the file's absolute path.
  ///   - home: what `~` stands for.
  package init(path: String, home: String, resolve: @escaping Resolve) {
    self.path = path
    self.home = home
    self.resolve = resolve
  }

  /// - Parameters:
  ///   - text: the file's.
  ///   - patterns: only names that match one of them (`*`, `?`) are taken; none: all.
  package func read(_ text: String, patterns: [String] = []) -> Result {
    var result = Result()
    let (names, includes) = Self.names(text)
    if includes { result.remarks.append("\(path): hosts of files that it includes are not looked for") }
    let wanted = names.filter { name in patterns.isEmpty || patterns.contains { fnmatch($0, name, 0) == 0 } }
    if wanted.count > Self.limit { result.remarks.append("\(path): only the first \(Self.limit) hosts are taken") }
    for name in wanted.prefix(Self.limit) {
      do {
        let settings = Self.settings(try resolve(name))
        result.documents.append(document(name, settings, names: Set(wanted), remarks: &result.remarks))
      } catch {
        result.remarks.append("\(name): left out: \(error)")
      }
    }
    return result
  }

  /// The names after `Host`, each once, without patterns; and whether other files are included.
  static func names(_ text: String) -> (names: [String], includes: Bool) {
    var names: [String] = []
    var seen: Set<String> = []
    var includes = false
    for line in text.split(whereSeparator: \.isNewline) {
      let words = line.split { $0 == " " || $0 == "\t" || $0 == "=" || $0 == "\"" }.map(String.init)
      guard let keyword = words.first?.lowercased() else { continue }
      if keyword == "include" { includes = true }
      guard keyword == "host" else { continue }
      for name in words.dropFirst().prefix(while: { !$0.hasPrefix("#") }) {
        guard !name.contains(where: { $0 == "*" || $0 == "?" || $0 == "!" }), !name.hasPrefix("-") else { continue }
        if seen.insert(name).inserted { names.append(name) }
      }
    }
    return (names, includes)
  }

  private static func settings(_ text: String) -> [String: [String]] {
    var settings: [String: [String]] = [:]
    for line in text.split(separator: "\n") {
      let parts = line.split(separator: " ", maxSplits: 1).map(String.init)
      if parts.count == 2 { settings[parts[0], default: []].append(parts[1]) }
    }
    return settings
  }

  private func document(
    _ name: String, _ settings: [String: [String]], names: Set<String>, remarks: inout [String]
  ) -> Value {
    var fields: [String: Value] = ["kind": "target", "target": .string(name)]
    func first(_ keyword: String) -> String? { settings[keyword]?.first.flatMap { $0 == "none" ? nil : $0 } }
    if let host = first("hostname"), host != name { fields["host"] = .string(host) }
    if let port = first("port").flatMap({ Int64($0) }), port != 22 { fields["port"] = .int(port) }
    if let user = first("user") { fields["user"] = .string(user) }
    // Without a setting the client names all its usual files, several at once.
    let keys = settings["identityfile"] ?? []
    if keys.count == 1 || !keys.contains("~/.ssh/id_rsa") {
      let present = keys.map(expanded).first { access($0, R_OK) == 0 }
      if let present {
        fields["identity_file"] = .string(present)
      } else if !keys.isEmpty {
        remarks.append("\(name): no IdentityFile of it is there: \(keys.joined(separator: ", "))")
      }
    }
    if let certificate = first("certificatefile") { fields["certificate_file"] = .string(expanded(certificate)) }
    if let command = first("proxycommand") {
      useClient(&fields)
      remarks.append(
        "\(name): goes through a ProxyCommand (\(command)), which only the ssh program can: transport: ssh")
    } else if let jump = first("proxyjump") {
      if names.contains(jump) {
        fields["jump"] = .string(jump)
      } else {
        useClient(&fields)
        remarks.append("\(name): its ProxyJump \(jump) is none of the hosts taken here: transport: ssh")
      }
    }
    return .object(fields)
  }

  /// The ssh program reads the file itself, by the name that stands in it.
  private func useClient(_ fields: inout [String: Value]) {
    fields["host"] = nil
    fields["transport"] = "ssh"
    fields["ssh_config"] = .string(path)
  }

  private func expanded(_ path: String) -> String { path.hasPrefix("~/") ? home + path.dropFirst() : path }
}
