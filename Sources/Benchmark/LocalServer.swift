internal import Foundation
internal import Glibc

/// An sshd of the benchmark's own, on loopback aliases, with keys in a temporary folder that `stop()` removes.
final class LocalServer {
  let directory: String
  let port: Int
  /// sshd listens on at most 16 addresses.
  let addresses: [String]
  let user: String
  private let process = Process()

  init(addresses count: Int) throws {
    directory = FileManager.default.temporaryDirectory.path + "/syscrap-benchmark-\(UUID().uuidString)"
    addresses = (1...max(1, min(16, count))).map { "127.1.0.\($0)" }
    user = getpwuid(geteuid()).map { String(cString: $0.pointee.pw_name) } ?? "root"
    port = 20_000 + Int.random(in: 0..<10_000)
    try FileManager.default.createDirectory(
      atPath: directory + "/home", withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
    if geteuid() == 0 { mkdir("/run/sshd", 0o755) }
    for name in ["host", "key"] {
      try Self.run(["/usr/bin/ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", directory + "/" + name])
    }
    let hostKey = try String(contentsOfFile: directory + "/host.pub", encoding: .utf8)
      .split(separator: " ").prefix(2).joined(separator: " ")
    let known = addresses.map { "[\($0)]:\(port) \(hostKey)\n" }.joined()
    try known.write(toFile: directory + "/known_hosts", atomically: true, encoding: .utf8)
    let lines =
      ["Port \(port)"] + addresses.map { "ListenAddress \($0)" } + [
        "HostKey \(directory)/host", "AuthorizedKeysFile \(directory)/key.pub", "PidFile none", "StrictModes no",
        "UsePAM no", "UseDNS no", "PasswordAuthentication no", "PermitRootLogin yes", "LogLevel ERROR",
        "MaxStartups 10000", "PerSourceMaxStartups none", "PrintMotd no", "PrintLastLog no",
        "SetEnv HOME=\(directory)/home",
      ]
    try (lines.joined(separator: "\n") + "\n").write(
      toFile: directory + "/sshd_config", atomically: true, encoding: .utf8)
    process.executableURL = URL(fileURLWithPath: "/usr/sbin/sshd")
    process.arguments = ["-D", "-f", directory + "/sshd_config", "-E", directory + "/log"]
    process.standardInput = FileHandle.nullDevice
    try process.run()
  }

  func stop() {
    process.terminate()
    process.waitUntilExit()
    try? FileManager.default.removeItem(atPath: directory)
  }

  private static func run(_ arguments: [String]) throws {
    let process = Process()
    process.executableURL = URL(fileURLWithPath: arguments[0])
    process.arguments = Array(arguments.dropFirst())
    process.standardInput = FileHandle.nullDevice
    try process.run()
    process.waitUntilExit()
  }
}
