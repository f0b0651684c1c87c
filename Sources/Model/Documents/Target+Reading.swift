extension Target {
  private static let names: Set<String> = Document.commonFields.union([
    "host", "port", "user", "identity_file", "password_file", "password_command", "agent", "certificate_file",
    "transport", "ssh_config", "host_key", "jump", "parents", "channels", "touch", "detected_specs",
  ])

  static let channelsRange = 1...64

  /// Reads a document of `targets`; references to other targets are checked by ``DocumentSet/check()``.
  package static func read(_ document: Document) -> Reading<Target> {
    let problems = ProblemList(kind: document.kind.rawValue, id: document.id)
    let reader = FieldReader(document: document, problems)
    reader.allow(
      only: names,
      advice: [
        "name": "the name stands in target", "address": "write host", "username": "write user",
        "known_hosts": "known_hosts files stand in the configuration; one key is pinned with host_key",
        "metrics": "metrics stand in a document of kind aggregation_options",
      ])
    reader.require("target", example: "web-1")
    let name = name(reader)
    let host = host(reader, name: name)
    if reader.value("password_file") != nil, reader.value("password_command") != nil {
      problems.refuse("password_command", "password_file is given too", hint: "keep one of them")
    }
    let jump = reader.text("jump", upTo: 253)
    if let jump, jump == name { problems.refuse("jump", "the target is its own jump host") }
    let parents = reader.texts("parents", example: "switch-3") ?? []
    for (index, parent) in parents.enumerated() where parent == name {
      problems.refuse("parents[\(index)]", "the target is its own parent")
    }
    var target = Target(id: document.id, name: name ?? "", host: host ?? "")
    target.port = reader.integer("port", in: 1...65_535, example: "22") ?? 22
    target.user = user(reader)
    target.identityFile = reader.text("identity_file")
    target.passwordFile = reader.text("password_file")
    target.passwordCommand = reader.arguments("password_command")
    target.usesAgent = reader.flag("agent") ?? false
    target.certificateFile = reader.text("certificate_file")
    target.transport = reader.choice("transport", Target.Transport.self)
    target.sshConfig = reader.text("ssh_config")
    checkTransport(target, problems)
    target.hostKeyPin = pin(reader)
    target.jump = jump
    target.parents = parents
    target.touch = TouchBudget.read(reader, hasChannels: true)
    target.channels = channels(reader, budget: target.touch["channels"]?.integer.flatMap { Int(exactly: $0) })
    target.labels = reader.textMap("labels") ?? [:]
    target.isEnabled = reader.enabled()
    // The service's own note: shown, never acted upon.
    if let specs = reader.value("detected_specs"), specs.fields == nil {
      problems.warn("detected_specs", "expected a map, found \(FieldReader.found(specs, ""))", hint: "it is rewritten")
    }
    return problems.reading(target)
  }

  /// What only one of the two transports can do.
  private static func checkTransport(_ target: Target, _ problems: ProblemList) {
    let needsClient = target.certificateFile != nil ? "certificate_file" : target.sshConfig != nil ? "ssh_config" : nil
    if let needsClient, target.transport == .libssh2 {
      problems.refuse(
        "transport", "libssh2 cannot act upon \(needsClient)", hint: "write transport: ssh, or leave it out")
    }
    let hasPassword = target.passwordFile != nil || target.passwordCommand != nil
    if hasPassword, target.transport == .ssh || needsClient != nil {
      problems.warn(
        needsClient ?? "transport", "the ssh program cannot be given a password",
        hint: "use a key or agent: true; or transport: libssh2")
    }
  }

  private static func name(_ reader: FieldReader) -> String? {
    if let value = reader.value("target"), value.text == nil {
      reader.problems.refuse("target", "expected the target's name, found \(FieldReader.found(value, "target"))")
      return nil
    }
    guard let name = reader.text("target", upTo: 253) else { return nil }
    guard name != "generic" else {
      reader.problems.refuse("target", "generic means all targets and names none", hint: "choose another name")
      return nil
    }
    guard !name.hasPrefix("-"), !name.contains(where: { $0.isWhitespace || $0 == "/" || $0 == "," || $0 == "=" }) else {
      reader.problems.refuse(
        "target", "\(FieldReader.quoted(name)) cannot be a name",
        hint: "no spaces, no / , = and no - in front; the address may stand in host")
      return nil
    }
    return name
  }

  private static func host(_ reader: FieldReader, name: String?) -> String? {
    if let host = reader.text("host", upTo: 253) {
      guard let problem = HostText.hostProblem(host) else { return host }
      reader.problems.refuse("host", problem.reason, hint: problem.hint)
      return nil
    }
    guard reader.value("host") == nil, let name else { return nil }
    if let problem = HostText.hostProblem(name) {
      reader.problems.refuse(
        "target", "without host the name is the host, and \(problem.reason)",
        hint: problem.hint ?? "write host: with the address")
      return nil
    }
    return name
  }

  private static func user(_ reader: FieldReader) -> String? {
    guard let user = reader.text("user", upTo: 255, example: "monitor") else { return nil }
    guard !user.hasPrefix("-"), !user.contains(where: { $0.isWhitespace }) else {
      reader.problems.refuse("user", "\(FieldReader.quoted(user)) cannot be a user's name")
      return nil
    }
    return user
  }

  /// `channels`, never more than the budget has.
  private static func channels(_ reader: FieldReader, budget: Int?) -> Int {
    let written = reader.integer("channels", in: channelsRange, example: "4")
    guard let budget else { return written ?? TouchBudget().channels }
    if let written, written > budget {
      reader.problems.warn(
        "channels", "\(written) is more than touch.channels allows, which is \(budget)", hint: "\(budget) count")
    }
    return min(written ?? budget, budget)
  }

  private static func pin(_ reader: FieldReader) -> String? {
    guard let text = reader.text("host_key", upTo: 256) else { return nil }
    var body = text.hasPrefix("SHA256:") ? String(text.dropFirst(7)) : ""
    if body.hasSuffix("=") { body.removeLast() }
    guard body.utf8.count == 43, body.utf8.allSatisfy({ HostText.isAlphanumeric($0) || $0 == 43 || $0 == 47 }) else {
      reader.problems.refuse(
        "host_key", "not a SHA256 fingerprint",
        hint: "SHA256: and 43 characters, as ssh-keygen -lf or syscrap trust list prints it")
      return nil
    }
    return "SHA256:\(body)"
  }
}
