internal import Configuration
internal import Model

/// The environment's `SYSCRAP_…` variables, one for each key of the configuration.
struct EnvironmentOverrides {
  /// What a variable's text becomes.
  enum Shape { case text, path, paths, names, scalar, store }

  /// Every key that has a value of its own; `ssh.user` is overridden by `SYSCRAP_SSH_USER`.
  static let keys: [String: Shape] = [
    "store": .store, "store_username": .text, "store_password_file": .path,
    "journal.maximum": .scalar, "state_dir": .path,
    "ssh.user": .text, "ssh.identity_files": .paths, "ssh.known_hosts": .paths, "ssh.host_key_policy": .text,
    "ssh.allow_exec": .scalar, "ssh.connect.handshakes": .scalar, "ssh.connect.per_second": .scalar,
    "ssh.connect.total_per_second": .scalar, "self.notify": .names, "http.listen": .text, "http.token_file": .path,
    "population.step": .scalar, "notificator.workers": .scalar, "notificator.max_workers": .scalar,
    "alive.file": .path, "alive.interval": .scalar, "restart.file": .path, "documents": .paths,
    "log.level": .text, "log.format": .text,
  ]

  private let environment: [String: String]
  private let reader: ConfigReader
  private var used: [String: String] = [:]

  init(_ environment: [String: String]) {
    // An empty variable counts as none.
    let ours = environment.filter { $0.key.hasPrefix("SYSCRAP_") && !$0.value.isEmpty }
    self.environment = ours
    reader = ConfigReader(
      provider: EnvironmentVariablesProvider(environmentVariables: ours).prefixKeys(with: ["syscrap"]))
  }

  /// The variable that a field of the configuration came from.
  func variable(at path: String) -> String? {
    used.first { path == $0.key || path.hasPrefix($0.key + "[") || path.hasPrefix($0.key + ".") }?.value
  }

  /// Puts each variable's value in its place. Relative paths start from the current directory.
  mutating func lay(over fields: inout [String: Value], base: PathBase, _ problems: ProblemList) {
    for (key, shape) in Self.keys.sorted(by: { $0.key < $1.key }) {
      guard let value = value(key, shape, base) else { continue }
      used[key] = Self.name(key)
      Self.put(value, at: key.split(separator: ".").map(String.init)[...], in: &fields)
    }
    warnOfSlips(problems)
  }

  private static func put(_ value: Value, at path: ArraySlice<String>, in fields: inout [String: Value]) {
    guard let name = path.first else { return }
    guard path.count > 1 else {
      fields[name] = value
      return
    }
    // What stands there and is no map is reported for the file; the variable cannot heal it.
    guard fields[name] == nil || fields[name]?.isNull == true || fields[name]?.fields != nil else { return }
    var inner = fields[name]?.fields ?? [:]
    put(value, at: path.dropFirst(), in: &inner)
    fields[name] = .object(inner)
  }

  private func value(_ key: String, _ shape: Shape, _ base: PathBase) -> Value? {
    let configKey = ConfigKey(key)
    switch shape {
    case .text: return reader.string(forKey: configKey).map { .string($0) }
    case .path: return reader.string(forKey: configKey).map { .string(base.absolute($0)) }
    case .store:
      return reader.string(forKey: configKey).map { text in
        let parts = text.split(separator: ":", maxSplits: 1)
        guard parts.count == 2, parts[0].lowercased() == "sqlite" else { return .string(text) }
        return .string("sqlite:" + base.absolute(String(parts[1])))
      }
    case .scalar: return reader.string(forKey: configKey).map(PlainScalar.resolve)
    case .paths:
      return reader.stringArray(forKey: configKey).map { .array(Self.trimmed($0).map { .string(base.absolute($0)) }) }
    case .names: return reader.stringArray(forKey: configKey).map { .array(Self.trimmed($0).map { .string($0) }) }
    }
  }

  private static func trimmed(_ parts: [String]) -> [String] {
    parts.map { part in
      let start = part.drop { $0 == " " }
      return String(start.reversed().drop { $0 == " " }.reversed())
    }.filter { !$0.isEmpty }
  }

  /// Other programs may have variables of our prefix, so only near misses are spoken of.
  private func warnOfSlips(_ problems: ProblemList) {
    let names = Dictionary(uniqueKeysWithValues: Self.keys.keys.map { (Self.name($0), $0) })
    for variable in environment.keys.sorted() where names[variable] == nil && variable != "SYSCRAP_CONFIG" {
      guard let nearest = NearestName.find(variable, in: names.keys) else { continue }
      problems.warn(
        "", "nothing reads the environment variable \(FieldReader.quoted(variable))", hint: "did you mean \(nearest)?")
    }
  }

  static func name(_ key: String) -> String {
    "SYSCRAP_" + key.uppercased().map { $0 == "." ? "_" : String($0) }.joined()
  }
}
