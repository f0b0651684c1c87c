package import Model
internal import Remote
internal import SSH

/// Everything that an administrator has to put where, so that a target grants what the documents use and no more.
package struct PrivilegeSheet: Sendable {
  package let plan: PrivilegePlan
  /// Lines of the account's authorized_keys on the target.
  package let authorizedKeys: [String]
  /// Lines of a sudoers file on the target. No metric of this version needs any.
  package let sudoers: [String] = []
  /// Lines of a known_hosts file here: the keys by which the target is known.
  package let knownHosts: [String]
  package let notes: [String]

  /// Puts it together from the documents and from files of this machine. Blocks for their reading.
  ///
  /// - Parameters:
  ///   - from: what stands in `from="…"`: addresses and patterns as sshd(8) has them, commas between.
  ///   - known: the target's lines, as ``TrustDesk/lines(host:port:)`` gives them.
  /// - Throws: ``OperationError`` with `usage` when `from` could not stand in the line.
  package init(
    _ plan: PrivilegePlan, _ configuration: Configuration, from: String?, known: [TrustDesk.Line]
  ) throws(OperationError) {
    self.plan = plan
    var options = "restrict"
    if let from {
      guard Self.isPatternList(from) else {
        throw OperationError(
          .usage,
          "--from takes addresses, names and patterns with commas between, such as 192.0.2.7,10.0.0.0/8, and no other "
            + "characters")
      }
      options += ",from=\"\(from)\""
    }
    // restrict turns forwarding off, and permitopen alone does not turn it on again.
    if !plan.forwards.isEmpty { options += ",port-forwarding" }
    for place in plan.forwards where Self.isPlace(place) { options += ",permitopen=\"\(place)\"" }
    options += ",command=\"\(PrivilegePlan.gatePath)\""
    var keys: [String] = []
    var notes = plan.notes
    let target = plan.target
    let isOther = target.usesAgent || target.passwordFile != nil || target.passwordCommand != nil
    for file in target.identityFile.map({ [$0] }) ?? (isOther ? [] : configuration.ssh.identityFiles) {
      do throws(RemoteError) {
        let found = try PublicKeyLine.of(identityFile: file)
        keys.append("\(options) \(found.text)")
        if found.isForeign { notes.append("\(found.source) is not the public half of \(file): make it anew") }
      } catch {
        notes.append(error.message)
      }
    }
    if target.usesAgent {
      notes.append(
        "the ssh-agent's keys are not looked at: 'ssh-add -L' prints their public halves; before each put \(options)")
    }
    if target.passwordFile != nil || target.passwordCommand != nil {
      notes.append("a password is bound to no gate: give the target an identity_file instead")
    }
    if target.certificateFile != nil {
      notes.append(
        "a certificate is not bound by authorized_keys: put force-command=\(PrivilegePlan.gatePath) into it "
          + "(ssh-keygen -O clear -O force-command=…), or before the authority's line: cert-authority,\(options)")
    }
    if target.jump != nil, from != nil {
      notes.append("the target is reached through \(target.jump ?? ""): from= must hold that host's address")
    }
    if plan.user == "root" {
      notes.append(
        "the account is root: name another user in the target's document; nothing that is gathered needs root")
    }
    let pin = target.hostKeyPin.map { pin in String(pin.reversed().drop { $0 == "=" }.reversed()) }
    knownHosts = known.filter { $0.isRevoked || pin == nil || $0.fingerprint == pin }.map(\.text)
    if !known.contains(where: { !$0.isRevoked }) {
      notes.append(
        "no key of \(target.host) is known: look at it with 'syscrap trust scan \(target.name)', then 'syscrap trust accept'"
      )
    }
    authorizedKeys = keys
    self.notes = notes
  }

  static func isPlace(_ text: String) -> Bool {
    text.utf8.count <= 300
      && text.utf8.allSatisfy { byte in
        (0x30...0x39).contains(byte) || (0x41...0x5A).contains(byte) || (0x61...0x7A).contains(byte)
          || ".:-_[]".utf8.contains(byte)
      }
  }

  static func isPatternList(_ text: String) -> Bool {
    !text.isEmpty && text.utf8.count <= 1000
      && text.utf8.allSatisfy { byte in
        (0x30...0x39).contains(byte) || (0x41...0x5A).contains(byte) || (0x61...0x7A).contains(byte)
          || ".:/*?!,_-%".utf8.contains(byte)
      }
  }

  package var value: Value {
    func list(_ lines: [String]) -> Value { .array(lines.map(Value.string)) }
    return [
      "target": .string(plan.target.name), "user": .string(plan.user), "gate": .string(PrivilegePlan.gatePath),
      "authorized_keys": list(authorizedKeys), "allow_list": .string(plan.list),
      "allow_list_path": .string(PrivilegePlan.listPath), "sudoers": list(sudoers), "known_hosts": list(knownHosts),
      "notes": list(notes),
    ]
  }

  /// Four labelled sections; what is not to be pasted begins with `#`.
  package var text: String {
    let name = PrivilegePlan.printable(plan.target.name)
    let user = PrivilegePlan.printable(plan.user)
    func section(_ title: String, _ lines: [String], without: String) -> String {
      "# === \(title)\n" + (lines.isEmpty ? ["# \(without)"] : lines).joined(separator: "\n")
    }
    return [
      section(
        "on \(name): ~\(user)/.ssh/authorized_keys", authorizedKeys, without: "no key was found: see below"),
      "# === on \(name): \(PrivilegePlan.listPath) (root:root, mode 0644), beside the gate \(PrivilegePlan.gatePath) (root:root, mode 0755)\n"
        + plan.list.dropLast(),
      section(
        "on \(name): /etc/sudoers.d/syscrap", sudoers,
        without: "nothing that is gathered is run through sudo: no line is needed, and the account should have none"),
      section("here: a known_hosts file", knownHosts, without: "no key is known"),
    ].joined(separator: "\n\n")
  }
}
