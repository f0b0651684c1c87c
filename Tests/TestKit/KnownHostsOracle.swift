internal import Foundation

/// The OpenSSH client as judge: whether it trusts a real sshd, given known_hosts files.
///
/// It makes host keys, runs one sshd for each set of them, and asks `ssh` without any user key: then the client ends
/// either before authentication ("Host key verification failed") or in it ("Permission denied").
package final class KnownHostsOracle: Sendable {
  /// Where the client goes.
  package struct Question: Sendable {
    /// Index into `servers`.
    package var server: Int
    package var host: String
    /// `nil`: through TCP to the server's own port. Otherwise the client believes in this port, and its ProxyCommand is
    /// an `sshd -i` with the server's keys: any name and port 22 can be tried without resolving or binding anything.
    package var port: Int?
    package var files: [String]
    /// The value of StrictHostKeyChecking.
    package var mode: String
    package var options: [String]

    package init(
      server: Int, host: String, port: Int? = nil, files: [String], mode: String = "yes", options: [String] = []
    ) {
      self.server = server
      self.host = host
      self.port = port
      self.files = files
      self.mode = mode
      self.options = options
    }
  }

  package enum Verdict: String, Sendable {
    case trusted, unknown, changed, revoked
  }

  package struct Server: Sendable {
    package var port: Int
    /// Public key blobs by type, in no order.
    package var keys: [String: [UInt8]]
    let configuration: String
  }

  package let servers: [Server]
  private let processes: [ManagedProcess]
  private let directory: TemporaryDirectory

  /// Whether ssh, sshd and ssh-keygen are here.
  package static var isAvailable: Bool {
    ["/usr/sbin/sshd", "/usr/bin/ssh", "/usr/bin/ssh-keygen"].allSatisfy {
      FileManager.default.isExecutableFile(atPath: $0)
    }
  }

  /// - Parameter keyTypes: for each server, the types of its host keys as `ssh-keygen -t` names them.
  package init(keyTypes: [[String]]) async throws {
    directory = try TemporaryDirectory("oracle")
    try? FileManager.default.createDirectory(atPath: "/run/sshd", withIntermediateDirectories: true)
    var servers: [Server] = []
    var processes: [ManagedProcess] = []
    for (number, types) in keyTypes.enumerated() {
      var keys: [String: [UInt8]] = [:]
      var files: [String] = []
      for type in types {
        let file = directory.file("host\(number)_\(type)")
        let (name, blob) = try await Self.makeKey(type: type, file: file)
        keys[name] = blob
        files.append(file)
      }
      let port = try Int(ManagedProcess.freePort())
      let configuration = try directory.write(
        "sshd\(number)",
        """
        Port \(port)
        ListenAddress 127.0.0.1
        ListenAddress 127.0.0.2
        \(files.map { "HostKey \($0)" }.joined(separator: "\n"))
        PidFile none
        UsePAM no
        StrictModes no
        MaxStartups 100
        PasswordAuthentication no
        KbdInteractiveAuthentication no
        AuthorizedKeysFile none
        LogLevel ERROR

        """)
      let process = try ManagedProcess(["/usr/sbin/sshd", "-D", "-e", "-f", configuration] + Self.tolerance)
      try await process.port(UInt16(port))
      processes.append(process)
      servers.append(Server(port: port, keys: keys, configuration: configuration))
    }
    self.servers = servers
    self.processes = processes
  }

  package func stop() async {
    for process in processes { await process.stop() }
  }

  /// A key made for the occasion: its type's name on the wire and its blob.
  package static func makeKey(type: String, file: String) async throws -> (name: String, blob: [UInt8]) {
    _ = try await ManagedProcess.run(["/usr/bin/ssh-keygen", "-q", "-t", type, "-N", "", "-f", file])
    let words = try String(contentsOfFile: file + ".pub", encoding: .utf8).split(separator: " ")
    guard words.count >= 2, let blob = Data(base64Encoded: String(words[1])) else {
      throw ManagedProcessError("ssh-keygen wrote no key into \(file).pub")
    }
    return (String(words[0]), Array(blob))
  }

  /// The client's verdicts, in the order of the questions; four clients run at a time.
  package func ask(_ questions: [Question]) async throws -> [Verdict] {
    var verdicts = [Verdict?](repeating: nil, count: questions.count)
    try await withThrowingTaskGroup(of: (Int, Verdict).self) { group in
      var waiting = questions.enumerated().makeIterator()
      for _ in 0..<4 {
        guard let (number, question) = waiting.next() else { break }
        group.addTask { (number, try await self.ask(question)) }
      }
      while let (number, verdict) = try await group.next() {
        verdicts[number] = verdict
        guard let (number, question) = waiting.next() else { continue }
        group.addTask { (number, try await self.ask(question)) }
      }
    }
    return verdicts.compactMap { $0 }
  }

  private func ask(_ question: Question) async throws -> Verdict {
    let server = servers[question.server]
    var arguments = ["/usr/bin/ssh", "-F", "none", "-p", "\(question.port ?? server.port)"]
    var options = [
      "BatchMode=yes", "PreferredAuthentications=none", "KexAlgorithms=curve25519-sha256", "GlobalKnownHostsFile=none",
      "IdentityFile=none", "IdentitiesOnly=yes", "IdentityAgent=none", "UpdateHostKeys=no", "ConnectTimeout=20",
      "StrictHostKeyChecking=\(question.mode)",
      "UserKnownHostsFile=" + (question.files.isEmpty ? "none" : question.files.joined(separator: " ")),
    ]
    if question.port != nil {
      let log = directory.file("inetd.log")
      options.append(
        "ProxyCommand=/usr/sbin/sshd -i -E \(log) -f \(server.configuration) \(Self.tolerance.joined(separator: " "))")
    }
    for option in options + question.options { arguments += ["-o", option] }
    let process = try ManagedProcess(arguments + ["nobody@\(question.host)", "true"])
    let status = try await process.exit()
    _ = try? await process.lines.first(from: Int.max, within: .seconds(5))
    let text = process.lines.all.joined(separator: "\n")
    guard status == 255 else { throw ManagedProcessError("ssh ended with \(status):\n\(text)") }
    if text.contains("Permission denied (") { return .trusted }
    guard text.contains("Host key verification failed.") else { throw ManagedProcessError("ssh said:\n\(text)") }
    if text.contains("REVOKED HOST KEY DETECTED") { return .revoked }
    if text.contains("REMOTE HOST IDENTIFICATION HAS CHANGED") { return .changed }
    return .unknown
  }

  /// Servers since 9.8 punish clients that fail to log in, which is all that these do.
  private static let tolerance: [String] = {
    let process = Process()
    let output = Pipe()
    process.executableURL = URL(fileURLWithPath: "/usr/bin/ssh")
    process.arguments = ["-V"]
    process.standardError = output
    guard (try? process.run()) != nil else { return [] }
    let text = String(decoding: output.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
    process.waitUntilExit()
    let numbers = text.drop { !$0.isNumber }.split(whereSeparator: { !$0.isNumber }).prefix(2).compactMap { Int($0) }
    guard numbers.count == 2, numbers[0] > 9 || numbers[0] == 9 && numbers[1] >= 8 else { return [] }
    return ["-o", "PerSourcePenalties=no"]
  }()
}
