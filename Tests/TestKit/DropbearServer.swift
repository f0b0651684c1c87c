internal import Foundation
internal import Glibc

/// A small device: Dropbear with nothing but BusyBox behind it, in a root folder of its own on a free loopback port.
///
/// Needs root (chroot, and a mount namespace of its own for /proc, which ends with the server), Debian's dropbear-bin and
/// busybox-static, and ssh-keygen.
package struct DropbearServer: Sendable {
  package let directory: TemporaryDirectory
  package let port: UInt16
  package let user = "monitor"
  /// The private key file that is let in.
  package let clientKey: String
  /// A known_hosts file with the server's key.
  package let knownHosts: String
  private let process: ManagedProcess

  package static var isAvailable: Bool {
    guard geteuid() == 0 else { return false }
    if ProcessInfo.processInfo.environment["CI"] == "true" { return true }
    return ["/usr/sbin/dropbear", "/usr/bin/busybox"].allSatisfy { FileManager.default.isExecutableFile(atPath: $0) }
  }

  package static func with<Result: Sendable>(
    _ body: @Sendable (DropbearServer) async throws -> Result
  ) async throws -> Result {
    let server = try await start()
    do {
      let result = try await body(server)
      await server.process.stop(grace: .seconds(2))
      return result
    } catch {
      await server.process.stop(grace: .seconds(2))
      print(server.process.lines.all.suffix(20).joined(separator: "\n"))
      throw error
    }
  }

  private static func start() async throws -> DropbearServer {
    let directory = try TemporaryDirectory()
    let port = try ManagedProcess.freePort()
    let root = directory.file("root")
    let key = directory.file("client")
    for (path, kind) in [(key, "ed25519"), (directory.file("host"), "ecdsa")] {
      _ = try await ManagedProcess.run(["/usr/bin/ssh-keygen", "-q", "-t", kind, "-N", "", "-f", path])
    }
    _ = try await ManagedProcess.run([
      "/bin/sh", "-c",
      #"""
      set -e; umask 022; r=$1; chmod 755 "$2"
      mkdir -p "$r/bin" "$r/sbin" "$r/etc" "$r/proc" "$r/dev" "$r/tmp" "$r/home/monitor/.ssh"
      cp /usr/bin/busybox "$r/bin/busybox"; cp /usr/sbin/dropbear "$r/sbin/dropbear"
      for n in $("$r/bin/busybox" --list); do [ "$n" = busybox ] || ln -sf busybox "$r/bin/$n"; done
      ldd /usr/sbin/dropbear | grep -o '/[^ ]*' | while read -r l; do mkdir -p "$r${l%/*}"; cp -L "$l" "$r$l"; done
      printf 'root:x:0:0:root:/:/bin/sh\nmonitor:x:12345:12345:monitor:/home/monitor:/bin/sh\n' > "$r/etc/passwd"
      printf 'root:*:19000:0:99999:7:::\nmonitor:*:19000:0:99999:7:::\n' > "$r/etc/shadow"
      printf 'root:x:0:\nmonitor:x:12345:\n' > "$r/etc/group"
      cp "$2/client.pub" "$r/home/monitor/.ssh/authorized_keys"
      chown -R 12345:12345 "$r/home/monitor"; chmod 700 "$r/home/monitor/.ssh"
      mknod -m 666 "$r/dev/null" c 1 3; mknod -m 666 "$r/dev/urandom" c 1 9; mknod -m 666 "$r/dev/random" c 1 8
      ln -s /proc/self/fd "$r/dev/fd"
      dropbearconvert openssh dropbear "$2/host" "$r/etc/host_key" >/dev/null 2>&1
      """#, "sh", root, directory.path,
    ])
    let process = try ManagedProcess(
      [
        "unshare", "-m", "/bin/sh", "-c",
        #"mount --make-rprivate / 2>/dev/null; mount -t proc proc "$1/proc" && exec chroot "$1" /sbin/dropbear -F -E -s -r /etc/host_key -p "127.0.0.1:$2""#,
        "sh", root, String(port),
      ], logFile: directory.file("dropbear.log"))
    do {
      try await process.port(port)
      let parts = try String(contentsOfFile: directory.file("host.pub"), encoding: .utf8).split(separator: " ").prefix(
        2)
      return DropbearServer(
        directory: directory, port: port, clientKey: key,
        knownHosts: try directory.write("known_hosts", "[127.0.0.1]:\(port) \(parts.joined(separator: " "))\n"),
        process: process)
    } catch {
      await process.stop(grace: .seconds(2))
      throw error
    }
  }

  private init(
    directory: TemporaryDirectory, port: UInt16, clientKey: String, knownHosts: String, process: ManagedProcess
  ) {
    self.directory = directory
    self.port = port
    self.clientKey = clientKey
    self.knownHosts = knownHosts
    self.process = process
  }

  /// Logins that the server's log tells of.
  package var acceptedCount: Int { process.lines.all.count { $0.contains("auth succeeded") } }
  /// Sessions that ended badly: the server's own assertions.
  package var failures: [String] { process.lines.all.filter { $0.contains("assertion") } }
}
