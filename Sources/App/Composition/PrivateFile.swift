internal import Foundation
internal import Glibc

/// Small files of the state folder that only the owner may read.
package enum PrivateFile {
  package struct Failure: Error, CustomStringConvertible {
    package var description: String
  }

  /// Replaces the file as one step, with mode 0600.
  static func write(_ text: String, to path: String) throws {
    let folder = (path as NSString).deletingLastPathComponent
    do {
      try FileManager.default.createDirectory(
        atPath: folder, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
    } catch {
      throw Failure(description: "the folder \(folder) cannot be made: set state_dir to one that can")
    }
    let temporary = "\(path).\(getpid()).new"
    unlink(temporary)
    let descriptor = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0o600)
    guard descriptor >= 0 else { throw Failure(description: "\(path) cannot be written: \(reason())") }
    defer { close(descriptor) }
    let bytes = Array(text.utf8)
    guard Glibc.write(descriptor, bytes, bytes.count) == bytes.count, rename(temporary, path) == 0 else {
      let why = reason()
      unlink(temporary)
      throw Failure(description: "\(path) cannot be written: \(why)")
    }
  }

  /// The file's content without surrounding white space, at most 4 KiB; nil when it is not there or cannot be read.
  package static func read(_ path: String) -> String? {
    guard let handle = FileHandle(forReadingAtPath: path) else { return nil }
    defer { try? handle.close() }
    guard let data = try? handle.read(upToCount: 4096), let text = String(data: data, encoding: .utf8) else {
      return nil
    }
    let trimmed = text.trimmingCharacters(in: .whitespacesAndNewlines)
    return trimmed.isEmpty ? nil : trimmed
  }

  private static func reason() -> String { String(cString: strerror(errno)) }
}

extension Configuration {
  /// Where the running service writes its page's address, for the command line (it may have been given port 0).
  package var addressPath: String { stateDirectory + "/address" }
}
