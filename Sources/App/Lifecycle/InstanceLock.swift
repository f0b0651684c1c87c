internal import Foundation
internal import Glibc

/// One service a state folder and a store: held from the start to the end of the process, and gone with it however it
/// ends.
final class InstanceLock: Sendable {
  private let descriptor: Int32

  /// - Parameters:
  ///   - path: the file that is locked; its folder is made where it is missing.
  ///   - what: what it guards, for the message.
  /// - Throws: when another process holds it, or the file cannot be used; the message says which and what to do.
  init(_ path: String, guarding what: String) throws {
    let folder = (path as NSString).deletingLastPathComponent
    do {
      try FileManager.default.createDirectory(
        atPath: folder, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
    } catch {
      throw PrivateFile.Failure(description: "the folder \(folder) cannot be made: set state_dir to one that can")
    }
    let descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0o600)
    guard descriptor >= 0 else {
      throw PrivateFile.Failure(
        description: "\(path) cannot be opened: \(String(cString: strerror(errno))); check the folder's owner")
    }
    guard flock(descriptor, LOCK_EX | LOCK_NB) == 0 else {
      let holder = PrivateFile.read(path).map { " (process \($0))" } ?? ""
      close(descriptor)
      throw PrivateFile.Failure(
        description: "another syscrap\(holder) uses \(what): stop it, or give this one a state_dir and store of its own"
      )
    }
    let line = Array("\(getpid())\n".utf8)
    ftruncate(descriptor, 0)
    _ = write(descriptor, line, line.count)
    self.descriptor = descriptor
  }

  deinit { close(descriptor) }
}
