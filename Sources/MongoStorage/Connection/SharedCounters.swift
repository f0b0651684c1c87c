internal import FoundationEssentials
internal import Glibc

/// The files in shared memory in which libmongoc counts, one for each process that has it loaded.
///
/// A process that is killed leaves its own behind, and a later one of the same number complains of it on its standard
/// error before anything of ours has begun.
package enum SharedCounters {
  /// Removes those of processes that are gone; of other accounts they cannot be removed, and stay.
  /// - Parameter folder: where they are.
  package static func sweep(in folder: String = "/dev/shm") {
    guard let names = try? FileManager.default.contentsOfDirectory(atPath: folder) else { return }
    for name in names where name.hasPrefix("mongoc-") {
      guard let process = Int32(name.dropFirst("mongoc-".count)), process > 0 else { continue }
      if kill(process, 0) == -1, errno == ESRCH { unlink(folder + "/" + name) }
    }
  }
}
