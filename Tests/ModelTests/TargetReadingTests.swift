internal import Model
internal import Testing

@Suite struct TargetReadingTests {
  @Test("Every field of a target is read")
  func everything() {
    let pin = "SHA256:" + String(repeating: "a", count: 43)
    let reading = Target.read(
      document(
        .targets,
        [
          "target": "web-1", "host": "192.0.2.10", "port": 2222, "user": "monitor", "identity_file": "/k",
          "password_command": ["/bin/pass", "web-1"], "agent": true, "certificate_file": "/c",
          "transport": "ssh", "ssh_config": "/s",
          "host_key": .string(pin + "="),
          "jump": "bastion", "parents": ["switch-3"], "channels": 1, "labels": ["role": "web", "empty": ""],
          "enabled": false,
          "detected_specs": ["os": "Debian"], "updated": "2026-11-21T00:00:00Z",
        ], id: "web-1"))
    #expect(
      reading.value
        == Target(
          id: "web-1", name: "web-1", host: "192.0.2.10", port: 2222, user: "monitor", identityFile: "/k",
          passwordCommand: ["/bin/pass", "web-1"], usesAgent: true, certificateFile: "/c", transport: .ssh,
          sshConfig: "/s", hostKeyPin: pin,
          jump: "bastion",
          parents: ["switch-3"], channels: 1, labels: ["role": "web", "empty": ""], isEnabled: false))
    #expect(
      lines(reading.problems) == [
        "~certificate_file: the ssh program cannot be given a password (use a key or agent: true; or transport: libssh2)"
      ])
  }

  @Test("A name alone is enough and is the host")
  func least() {
    let reading = Target.read(document(.targets, ["target": "::1"], id: "a"))
    #expect(reading.value == Target(id: "a", name: "::1", host: "::1"))
    #expect(reading.problems == [])
  }

  static let refusals: [Refusal] = [
    .init([:], "target: target is missing (write target: web-1)"),
    .init(["target": ["a", "b"]], "target: expected the target's name, found a list"),
    .init(["target": 7], "target: expected the target's name, found the number 7"),
    .init(["target": "generic"], "target: generic means all targets and names none (choose another name)"),
    .init(
      ["target": "-oProxyCommand=x"],
      "target: \"-oProxyCommand=x\" cannot be a name (no spaces, no / , = and no - in front; the address may stand in host)"
    ),
    .init(
      ["target": "a", "host": "root@h"], "host: \"root@h\" is not a host (the user stands in user)"),
    .init(["target": "a", "host": "h:22"], "host: \"h:22\" is not a host (the port stands in port: 22)"),
    .init(["target": "a", "host": "-h"], "host: \"-h\" is neither a host name nor an IP address"),
    .init(
      ["target": "Büro"],
      "target: without host the name is the host, and \"Büro\" is not a host (write international names in their ASCII form (xn--…))"
    ),
    .init(
      ["target": "a", "port": "22"],
      "port: expected a whole number from 1 to 65535, found the text \"22\" (write it without quotes)"),
    .init(["target": "a", "port": 0], "port: 0 is outside 1 to 65535"),
    .init(["target": "a", "port": .int(.max)], "port: 9223372036854775807 is outside 1 to 65535"),
    .init(
      ["target": "a", "port": .double(.nan)],
      "port: expected a whole number from 1 to 65535, found the number nan (for example 22)"),
    .init(
      ["target": "a", "agent": "yes"], "agent: expected true or false, found the text \"yes\" (write true)"),
    .init(
      ["target": "a", "identityfile": "/k"],
      "identityfile: unknown field \"identityfile\" (did you mean identity_file?)"),
    .init(
      ["target": "a", "password": "hunter2"],
      "password: a secret must not stand in a document (write password_file or password_command: the secret stays in a file or comes from a command)"
    ),
    .init(
      ["target": "a", "password_file": "/p", "password_command": ["x"]],
      "password_command: password_file is given too (keep one of them)"),
    .init(
      ["target": "a", "password_command": "pass show web"],
      "password_command: expected a list of arguments, found one text with spaces (no shell reads it: write [program, argument, …])"
    ),
    .init(
      ["target": "a", "host_key": "MD5:12:34"],
      "host_key: not a SHA256 fingerprint (SHA256: and 43 characters, as ssh-keygen -lf or syscrap trust list prints it)"
    ),
    .init(
      ["target": "a", "transport": "openssh"],
      "transport: expected one of libssh2, ssh, found the text \"openssh\""),
    .init(
      ["target": "a", "transport": "libssh2", "certificate_file": "/c"],
      "transport: libssh2 cannot act upon certificate_file (write transport: ssh, or leave it out)"),
    .init(
      ["target": "a", "transport": "libssh2", "ssh_config": "/c"],
      "transport: libssh2 cannot act upon ssh_config (write transport: ssh, or leave it out)"),
    .init(["target": "a", "jump": "a"], "jump: the target is its own jump host"),
    .init(["target": "a", "parents": ["b", "a"]], "parents[1]: the target is its own parent"),
    .init(
      ["target": "a", "labels": ["role": 1]],
      "labels.role: expected text, found the number 1 (write it in quotes: \"1\")"),
    .init(["target": "a", "labels": "web"], "labels: expected a map, found the text \"web\""),
    .init(["target": "a", "channels": 0], "channels: 0 is outside 1 to 64"),
    .init(["target": "a", "user": "a\nb"], "user: the text holds a control character or a line break"),
    .init(
      ["target": "a", "port": true, "agent": 1, "nonsense": 1, "user": ""],
      "nonsense: unknown field \"nonsense\" (known: _id, agent, certificate_file, channels, detected_specs, enabled, host, host_key, identity_file, jump, kind, labels, parents, password_command, password_file, port, ssh_config, target, touch, transport, updated, user)",
      "port: expected a whole number from 1 to 65535, found true (for example 22)",
      "user: the text is empty (for example monitor)",
      "agent: expected true or false, found the number 1 (write true or false)"),
  ]

  @Test("A wrong target is refused with all its problems, each with path, reason and hint", arguments: refusals)
  func refuses(_ refusal: Refusal) {
    let reading = Target.read(document(.targets, refusal.fields))
    #expect(lines(reading.problems) == refusal.expected)
    #expect(reading.value == nil)
  }

  @Test("No message repeats what stands in a field of a secret")
  func noSecrets() {
    for (name, value) in [
      ("password", "hunter2"), ("token", "hunter2"), ("secret", "hunter2"), ("password_file", "hunter2\u{1}"),
      ("api_key", "hunter2"), ("passphrase", "hunter2"), ("user", "https://x:hunter2@h"),
      ("nonsense", "a://b:hunter2@c"),
    ] {
      let reading = Target.read(document(.targets, ["target": "a", name: .string(value)]))
      #expect(reading.value == nil)
      #expect(!lines(reading.problems).joined().contains("hunter2"), "\(name)")
    }
  }
}
