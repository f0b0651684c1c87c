internal import CSSH2
internal import Glibc

/// The system's OpenSSH client: where it is, and how its master is called.
package struct SystemClient: Sendable, Hashable {
  /// Its absolute path; `nil` when there is none.
  package var program: String?
  /// Ends the client when our process dies without a word; `nil`: a client then lives on until its connection ends.
  package var guardian: String?
  /// Where private folders may be made, best first.
  package var places: [String]

  package init(program: String?, guardian: String? = nil, places: [String] = ["/tmp"]) {
    self.program = program
    self.guardian = guardian
    self.places = places
  }

  /// What this machine has.
  package static let standard = SystemClient(
    program: first(["/usr/bin/ssh", "/usr/local/bin/ssh", "/bin/ssh"]),
    guardian: first(["/usr/bin/setpriv", "/bin/setpriv"]),
    places: ["RUNTIME_DIRECTORY", "XDG_RUNTIME_DIR", "TMPDIR"].compactMap(variable) + ["/tmp"])

  private static func first(_ paths: [String]) -> String? { paths.first { access($0, X_OK) == 0 } }

  static func variable(_ name: String) -> String? {
    guard let value = getenv(name).map({ String(cString: $0) }), !value.isEmpty else { return nil }
    return value
  }
}

/// The command line and environment of a master: one authenticated connection without a session of its own.
///
/// What must hold is given as options, which count before any file. No secret is ever among them.
struct MasterCall: Sendable {
  var arguments: [String]
  var environment: [String: String]

  /// What the host is called: in known_hosts files, and so by the client.
  static func checked(_ host: String) -> Bool {
    !host.isEmpty && !host.hasPrefix("-") && host.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7F && $0 != UInt8(ascii: "@") }
      && !host.contains("/")
  }

  /// A path as the value of an option: quoted, and safe from the client's own expansions.
  ///
  /// - Returns: `nil` when it cannot be written.
  static func quoted(_ path: String) -> String? {
    guard path.utf8.allSatisfy({ $0 >= 0x20 && $0 != 0x7F && $0 != UInt8(ascii: "\"") && $0 != UInt8(ascii: "\\") }),
      !path.contains("${"), path.hasPrefix("/")
    else { return nil }
    return "\"" + path.split(separator: "%", omittingEmptySubsequences: false).joined(separator: "%%") + "\""
  }

  /// - Parameters:
  ///   - nonce: stands before the client's word about the host's key, so that no server can say it in its place.
  ///   - seconds: to connect.
  ///   - keyTypes: host key algorithms to ask for, best first; empty: the client's own order.
  init(
    client: SystemClient, program: String, endpoint: Connection.Endpoint, keys: [String], agent: String?,
    certificate: String?, file: String?, folder: ControlFolder, nonce: String, connect seconds: Int, alive: Int,
    keyTypes: [String]
  ) {
    var options: [String] = [
      "ControlMaster=yes", "ControlPath=\(folder.socket)", "ControlPersist=no", "BatchMode=yes",
      "StrictHostKeyChecking=yes", "UserKnownHostsFile=\(folder.knownHosts)", "GlobalKnownHostsFile=/dev/null",
      "KnownHostsCommand=/bin/sh -c \"echo \(nonce) %I %t %K >&2\"", "UpdateHostKeys=no", "CheckHostIP=no",
      "VerifyHostKeyDNS=no", "NoHostAuthenticationForLocalhost=no", "HashKnownHosts=no",
      "PasswordAuthentication=no", "KbdInteractiveAuthentication=no", "NumberOfPasswordPrompts=0",
      "ServerAliveInterval=\(alive)", "ServerAliveCountMax=2", "TCPKeepAlive=yes", "ConnectTimeout=\(seconds)",
      "ConnectionAttempts=1", "ForwardAgent=no", "ForwardX11=no", "ClearAllForwardings=yes", "Tunnel=no",
      "PermitLocalCommand=no", "RemoteCommand=none", "EscapeChar=none", "AddKeysToAgent=no",
      // OpenSSH's own first choice costs us some 0.2 s of arithmetic for each connection.
      "KexAlgorithms=^curve25519-sha256",
    ]
    if file == nil {
      options += ["PreferredAuthentications=publickey", "IdentitiesOnly=\(agent == nil ? "yes" : "no")"]
      if keys.isEmpty { options.append("IdentityFile=none") }
      if agent == nil { options.append("IdentityAgent=none") }
    } else {
      // A name that does not depend on what the file makes of the host.
      options.append("HostKeyAlias=\(KnownHosts.name(host: endpoint.host, port: endpoint.port))")
      if !keys.isEmpty { options.append("IdentitiesOnly=yes") }
    }
    if !keyTypes.isEmpty { options.append("HostKeyAlgorithms=\(keyTypes.joined(separator: ","))") }
    options += keys.map { "IdentityFile=\($0)" }
    if let certificate { options.append("CertificateFile=\(certificate)") }
    var words: [String] = []
    if let guardian = client.guardian { words += [guardian, "--pdeathsig", "TERM"] }
    words += [program, "-v", "-N", "-T", "-F", file ?? "none"]
    for option in options { words += ["-o", option] }
    words += ["-p", String(endpoint.port), "-l", endpoint.user, "--", endpoint.host]
    arguments = words

    environment = [
      "PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C", "LC_ALL": "C", "HOME": SystemClient.variable("HOME") ?? "/",
    ]
    if let agent { environment["SSH_AUTH_SOCK"] = agent }
    // Where Kerberos tickets are; only a file of the person's own can ask for them.
    if file != nil, let cache = SystemClient.variable("KRB5CCNAME") { environment["KRB5CCNAME"] = cache }
  }
}
