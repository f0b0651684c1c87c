internal import FoundationEssentials
package import Model
package import Remote
internal import SSH

/// Finds out over a live connection what a target's account lacks and what it has beyond what is used.
///
/// What is needed is simply tried. What is too much is looked for with one command that only works where commands are free,
/// and behind a gate with the gate's own list. Nothing is changed on the target; sudo may note that it was asked.
package struct PrivilegeCheck: Sendable {
  /// What can be found. The raw values are what the API shows.
  package enum Bearing: String, Sendable {
    /// Our gate answers.
    case gate
    /// Any command is run.
    case free
    /// Something else than our gate stands before the account.
    case other
  }

  package struct Report: Sendable, Hashable {
    package struct Missing: Sendable, Hashable {
      package var metrics: [String]
      package var what: String
      package var reason: String
    }
    package struct Excess: Sendable, Hashable {
      package var what: String
      package var remedy: String
    }
    package var target: String
    package var user: String
    package var bearing = Bearing.other
    /// Metrics are degraded.
    package var missing: [Missing] = []
    /// The account may do more than is used.
    package var excess: [Excess] = []
    /// What could not be found out, and why.
    package var unknown: [String] = []

    package var value: Value {
      [
        "target": .string(target), "user": .string(user), "account": .string(bearing.rawValue),
        "missing": .array(
          missing.map {
            [
              "metrics": .array($0.metrics.map(Value.string)), "what": .string($0.what), "reason": .string($0.reason),
            ]
          }),
        "excess": .array(excess.map { ["what": .string($0.what), "remedy": .string($0.remedy)] }),
        "unknown": .array(unknown.map(Value.string)),
      ]
    }
  }

  /// What the gate's messages begin with.
  static let gateMark = "syscrap-gate 1"

  /// Most findings of excess in a report; how many more there were is told. What a target says has no bound of its own.
  static let excessLimit = 200

  /// Groups whose members are as good as root or may read what is nobody's business.
  static let powerful: Set<String> = [
    "root", "sudo", "wheel", "admin", "docker", "podman", "lxd", "incus", "libvirt", "kvm", "disk", "shadow",
  ]

  private let plan: PrivilegePlan
  private let remote: any Remote

  package init(_ plan: PrivilegePlan, over remote: any Remote) {
    self.plan = plan
    self.remote = remote
  }

  /// - Throws: only when the connection itself failed.
  package func report() async throws(RemoteError) -> Report {
    var report = try await look()
    let more = report.excess.count - Self.excessLimit
    if more > 0 {
      report.excess.removeLast(more)
      report.unknown.append("\(more) more findings of excess are left out")
    }
    return report
  }

  private func look() async throws(RemoteError) -> Report {
    var report = Report(target: plan.target.name, user: plan.user)
    report.missing = try await missing()
    if plan.user == "root" {
      report.excess.append(
        .init(what: "the account is root", remedy: "name another user in the target's document: nothing needs root"))
    }
    let survey: CommandResult
    do throws(RemoteError) {
      survey = try await remote.run(Self.survey)
    } catch {
      if error.phase == .connection { throw error }
      report.unknown.append("whether commands are free: \(error.message)")
      return report
    }
    if survey.status == 0, survey.output.starts(with: Array("=survey\n".utf8)) {
      report.bearing = .free
      report.excess.append(
        .init(
          what: "any command is run",
          remedy: "put the gate before the key: 'syscrap privileges \(plan.target.name)' prints the line"))
      read(survey, fingerprint: Self.fingerprint(await remote.facts), into: &report)
    } else if Self.isGate(survey) {
      report.bearing = .gate
      try await compare(into: &report)
      report.unknown.append(
        "sudo, groups and password of the account: behind the gate only what its list names can be asked")
    } else {
      report.unknown.append(
        "what stands before the account: a command ended with status \(survey.status.map(String.init) ?? "none")"
          + Self.said(survey.errors))
    }
    return report
  }

  // MARK: Missing

  private func missing() async throws(RemoteError) -> [Report.Missing] {
    var found: [Report.Missing] = []
    var rest = plan.needs[...]
    while !rest.isEmpty {
      let batch = rest.prefix(RemoteLimits.questions)
      rest = rest.dropFirst(batch.count)
      let answers = try await remote.ask(
        batch.map { need in
          // Whether it can be read is told by its first byte.
          if case .read(let path, _) = need.question { .read(path: path, limit: 1) } else { need.question }
        })
      for (need, answer) in zip(batch, answers) {
        guard let reason = Self.trouble(answer) else { continue }
        found.append(.init(metrics: need.metrics, what: PrivilegePlan.describe(need.question), reason: reason))
      }
    }
    return found
  }

  /// Why an answer means that a privilege, or the thing itself, is missing; nil when it does not.
  static func trouble(_ answer: Answer) -> String? {
    switch answer {
    case .content: nil
    case .failed(let error): error.message
    case .result(let result):
      if isGate(result) {
        "the gate refused it: this line is not in its list, or the list is not in order" + said(result.errors)
      } else if result.status == 126 || result.status == 127 {
        (result.status == 127 ? "there is no such program" : "it may not be run") + said(result.errors)
      } else {
        // Any other status is the program's own affair, which its metric reports.
        nil
      }
    }
  }

  private static func isGate(_ result: CommandResult) -> Bool {
    result.status == 126 && result.errors.starts(with: Array(gateMark.utf8))
  }

  // MARK: Excess behind the gate

  private func compare(into report: inout Report) async throws(RemoteError) {
    let result: CommandResult
    do throws(RemoteError) {
      result = try await remote.run(PrivilegePlan.inquiry)
    } catch {
      if error.phase == .connection { throw error }
      report.unknown.append("what the gate's list allows: \(error.message)")
      return
    }
    guard result.status == 0, !result.isTruncated else {
      report.unknown.append(
        "what the gate's list allows: it lacks the line for this question" + Self.said(result.errors))
      return
    }
    let used = Set(plan.listGroups.flatMap(\.lines))
    for line in String(decoding: result.output, as: UTF8.self).split(separator: "\n").map(String.init)
    where !used.contains(line) {
      report.excess.append(
        .init(
          what: "the gate allows: \(line)",
          remedy: "take the line out of \(PrivilegePlan.listPath): no document uses it"))
    }
  }

  // MARK: Excess where commands are free

  /// One look at what the account is. Sections begin with a line of `=` and a word; authorized_keys, whose content is
  /// nobody's word, comes last.
  static let survey = Command(
    [
      "sh", "-c",
      "echo =survey; id -u; echo =groups; id -Gn; echo =sudo; command -v sudo >/dev/null 2>&1 && sudo -n -l 2>&1; "
        + "echo =password; passwd -S 2>/dev/null; echo =keys; head -c 65536 ~/.ssh/authorized_keys 2>/dev/null; exit 0",
    ], deadline: .seconds(15))

  private func read(_ survey: CommandResult, fingerprint: String?, into report: inout Report) {
    var sections: [String: [String]] = [:]
    var name = ""
    for line in String(decoding: survey.output, as: UTF8.self).split(separator: "\n").map(String.init) {
      if name != "keys", line.hasPrefix("=") {
        name = String(line.dropFirst())
      } else {
        sections[name, default: []].append(line)
      }
    }
    if sections["survey"]?.first == "0", plan.user != "root" {
      report.excess.append(
        .init(what: "the account \(plan.user) has the user id 0", remedy: "give it one of its own: nothing needs root"))
    }
    for group in sections["groups"]?.first?.split(separator: " ").map(String.init) ?? []
    where Self.powerful.contains(group) && plan.user != "root" {
      report.excess.append(
        .init(what: "the account is in the group \(group)", remedy: "take it out: gpasswd -d \(plan.user) \(group)"))
    }
    let sudo = sections["sudo"] ?? []
    if let start = sudo.firstIndex(where: { $0.contains("may run the following commands") }) {
      for line in sudo[(start + 1)...] where line.hasPrefix(" ") && plan.user != "root" {
        report.excess.append(
          .init(
            what: "sudo allows: \(line.drop { $0 == " " })",
            remedy: "take it out of sudoers: nothing is run through sudo"))
      }
    } else if sudo.contains(where: { $0.contains("password is required") }) {
      report.unknown.append("what sudo allows: it asks for a password before it tells")
    }
    if sections["password"]?.first?.split(separator: " ").dropFirst().first == "P" {
      report.excess.append(.init(what: "the account has a password", remedy: "lock it: passwd -l \(plan.user)"))
    }
    guard let fingerprint else { return }
    let entries = (sections["keys"] ?? []).compactMap(AuthorizedKey.init)
    guard let own = entries.first(where: { $0.fingerprint == fingerprint }) else {
      report.unknown.append("the key's options: it does not stand in ~/.ssh/authorized_keys")
      return
    }
    if !own.options.contains("restrict") {
      report.excess.append(
        .init(
          what: "the key may forward ports, agents and displays and have terminals",
          remedy: "put restrict before it in ~/.ssh/authorized_keys"))
    }
  }

  /// The key that a connection logged in with, as far as it tells.
  private static func fingerprint(_ facts: ConnectionFacts) -> String? {
    guard let start = facts.authentication.firstRange(of: "SHA256:") else { return nil }
    return String(facts.authentication[start.lowerBound...].prefix { $0 != ")" && $0 != " " })
  }

  private static func said(_ errors: [UInt8]) -> String {
    let text = String(decoding: errors.prefix(300).map { $0 >= 0x20 && $0 < 0x7F ? $0 : 0x20 }, as: UTF8.self)
    let trimmed = text.drop { $0 == " " }.reversed().drop { $0 == " " }.reversed()
    return trimmed.isEmpty ? "" : " (\(String(trimmed)))"
  }
}

/// One line of authorized_keys: the names of its options, and the key. Format: sshd(8).
struct AuthorizedKey {
  let options: Set<String>
  let fingerprint: String

  init?(_ line: String) {
    guard line.first != "#" else { return nil }
    // Blanks in quotes belong to an option's value, and \" in them ends no quotes.
    var words: [String] = [""]
    // The first word without what stands in quotes.
    var bare = ""
    var isQuoted = false
    var isEscaped = false
    for character in line {
      let isQuote = character == "\"" && !isEscaped
      isEscaped = character == "\\" && !isEscaped
      if isQuote { isQuoted.toggle() }
      if character == " " || character == "\t", !isQuoted {
        if words.last != "" { words.append("") }
        continue
      }
      if words.count == 1, !isQuoted, !isQuote { bare.append(character) }
      words[words.count - 1].append(character)
    }
    guard let place = words.indices.prefix(2).first(where: { Self.key(words, at: $0) != nil }),
      let key = Self.key(words, at: place)
    else { return nil }
    fingerprint = key.fingerprint
    let names = place == 0 ? [] : bare.split(separator: ",").map { String($0.prefix { $0 != "=" }).lowercased() }
    options = Set(names)
  }

  private static func key(_ words: [String], at place: Int) -> HostKey? {
    guard place + 1 < words.count, let data = Data(base64Encoded: words[place + 1]),
      let key = HostKey(blob: Array(data)), key.type == words[place]
    else { return nil }
    return key
  }
}
