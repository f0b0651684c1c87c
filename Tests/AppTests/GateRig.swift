internal import Foundation
internal import TestKit

/// A real sshd that lets the tests' key in only through a copy of `deploy/syscrap-gate`, and the system's ssh to ask it.
///
/// One authenticated connection carries all that is asked, so that hundreds of attempts cost one login.
struct GateRig: Sendable {
  struct Output: Sendable {
    var status: Int32
    var output: [UInt8]
    var errors: [UInt8]
    var text: String { String(decoding: output, as: UTF8.self) }
    var errorText: String { String(decoding: errors, as: UTF8.self) }
    var isRefused: Bool { status == 126 && errorText.hasPrefix("syscrap-gate 1: refused: ") }
  }

  /// What may be the shell of a target's scripts.
  static let interpreters = ["/bin/dash", "/bin/busybox sh", "/bin/bash"]
  static let boundary = "0123456789abcdef0123456789abcdef"

  /// The script as it is delivered.
  static let source = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
    .appending(path: "../../deploy/syscrap-gate").standardized.path

  let server: SSHServer
  let directory: TemporaryDirectory
  var gate: String { directory.file("gate") }
  var list: String { directory.file("gate.allow") }
  private let place: [String]

  /// Options for a connection of its own to the same place.
  var arguments: [String] { place.enumerated().filter { $0.offset != 2 && $0.offset != 3 }.map(\.element) }

  /// - Parameter interpreter: stands behind `#!` in place of /bin/sh.
  static func with(interpreter: String = "/bin/sh", _ body: @Sendable (GateRig) async throws -> Void) async throws {
    try await SSHServer.with(options: ["Subsystem sftp internal-sftp"]) { server in
      let directory = try TemporaryDirectory("gate")
      let knownHosts = try await server.knownHostsFile()
      let place = [
        "-F", "none", "-S", directory.file("s"), "-i", server.clientKey(), "-p", String(server.port),
        "-o", "IdentitiesOnly=yes", "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=yes",
        "-o", "UserKnownHostsFile=\(knownHosts)", "-o", "KexAlgorithms=curve25519-sha256", "-T",
      ]
      let rig = GateRig(server: server, directory: directory, place: place)
      try await install(in: directory, interpreter: interpreter)
      try rig.allow([])
      let key = try String(contentsOfFile: server.clientKey() + ".pub", encoding: .utf8)
      try server.directory.write("authorized_keys", "restrict,command=\"\(rig.gate)\" \(key)")
      let master = try ManagedProcess(["ssh", "-M", "-N"] + place + ["--", "\(server.user)@127.0.0.1"])
      do {
        try await rig.connected(master)
        try await body(rig)
      } catch {
        await master.stop()
        throw error
      }
      await master.stop()
    }
  }

  /// Puts the gate into a folder, with its list in the same one. - Returns: its path.
  ///
  /// - Parameter interpreter: stands behind `#!`.
  @discardableResult
  static func install(in directory: TemporaryDirectory, interpreter: String = "/bin/sh") async throws -> String {
    var lines = try String(contentsOfFile: Self.source, encoding: .utf8)
      .split(separator: "\n", omittingEmptySubsequences: false).map(String.init)
    lines[0] = "#!" + interpreter
    guard let constant = lines.firstIndex(of: "allow=/etc/syscrap/gate.allow") else {
      throw ManagedProcessError("the gate does not name its list as it did")
    }
    lines[constant] = "allow=\(directory.file("gate.allow"))"
    let draft = try directory.write("gate.draft", lines.joined(separator: "\n"))
    // Written by another process: a child that was started meanwhile would hold a file of ours open for writing, and what
    // is open for writing cannot be run.
    _ = try await ManagedProcess.run(["install", "-m", "755", draft, directory.file("gate")])
    try FileManager.default.removeItem(atPath: draft)
    return directory.file("gate")
  }

  func allow(_ lines: [String], permissions: Int = 0o644) throws {
    try directory.write("gate.allow", lines.map { $0 + "\n" }.joined(), permissions: permissions)
  }

  /// Asks for exactly this command, as a client would.
  func ask(_ command: String, input: [UInt8] = [], options: [String] = []) async throws -> Output {
    try await run(["ssh"] + place + options + ["--", "\(server.user)@127.0.0.1", command], input: input)
  }

  /// Runs a program of this machine with separate outputs.
  func run(_ arguments: [String], input: [UInt8] = []) async throws -> Output {
    let name = "io-" + UUID().uuidString
    let scratch = server.directory
    let files = ["in", "out", "err"].map { scratch.file("\(name).\($0)") }
    try Data(input).write(to: URL(fileURLWithPath: files[0]))
    defer { for file in files { try? FileManager.default.removeItem(atPath: file) } }
    let process = try ManagedProcess(
      ["/bin/sh", "-c", "in=$1 out=$2 err=$3; shift 3; exec \"$@\" <\"$in\" >\"$out\" 2>\"$err\"", "sh"] + files
        + arguments)
    let status: Int32
    do {
      status = try await process.exit(within: .seconds(60))
    } catch {
      await process.stop()
      throw ManagedProcessError("\(arguments.last ?? ""): \(error)")
    }
    func bytes(_ path: String) -> [UInt8] { FileManager.default.contents(atPath: path).map(Array.init) ?? [] }
    return Output(status: status, output: bytes(files[1]), errors: bytes(files[2]))
  }

  /// Asks the resident reader for files by hand. - Returns: for each its bytes and the status digit; nil when the reader
  /// ended before.
  func read(_ files: [(path: String, limit: Int)]) async throws -> [(bytes: [UInt8], status: Character)]? {
    let requests = files.map { "+7 \($0.limit) \($0.path)\n" }.joined() + "7\n"
    let answer = try await ask("reader \(Self.boundary)", input: Array(requests.utf8))
    var rest = answer.output[...]
    let greeting = Array("syscrap-reader 1 gate\n".utf8)
    guard answer.status == 0, rest.starts(with: greeting) else { return nil }
    rest = rest.dropFirst(greeting.count)
    var found: [(bytes: [UInt8], status: Character)] = []
    let mark = Array("\n\(Self.boundary) ".utf8)
    while let start = rest.firstRange(of: mark), start.upperBound + 1 < rest.endIndex {
      found.append((Array(rest[..<start.lowerBound]), Character(Unicode.Scalar(rest[start.upperBound]))))
      rest = rest[(start.upperBound + 2)...]
    }
    return found
  }

  private func connected(_ master: ManagedProcess) async throws {
    for _ in 0..<300 {
      if try await run(["ssh", "-O", "check"] + place + ["--", "\(server.user)@127.0.0.1"]).status == 0 { return }
      guard master.isRunning else { break }
      // Nothing tells that the control socket is there.
      try await Task.sleep(for: .milliseconds(50))
    }
    throw ManagedProcessError("ssh did not connect:\n" + master.lines.all.joined(separator: "\n"))
  }
}
