internal import Dispatch
internal import Remote
internal import Threads

extension KnownHosts {
  /// What all the files say about `name` (`nil`: every line of theirs). Blocks.
  ///
  /// A missing file is skipped silently; one that is there but cannot be read is skipped and becomes a problem.
  static func read(_ files: [String], naming name: String?) -> KnownHosts {
    var known = KnownHosts()
    for file in files {
      do {
        known.add(try KnownHostsFile(path: file).read(), file: file, naming: name)
      } catch  where error.isMissing {
        continue
      } catch {
        known.add(Problem(file: file, line: 0, reason: error.reason))
      }
    }
    return known
  }

  /// A line for a file, without its end.
  static func line(name: String, key: HostKey, comment: String) -> String {
    let safe = comment.map { $0.isNewline || $0 == "\0" ? " " : $0 }
    return "\(name) \(key.type) \(key.base64)" + (safe.isEmpty ? "" : " " + String(safe))
  }
}

/// Runs file work on a thread where blocking is allowed and waits for its end.
/// - Throws: what `work` throws; when the pool refuses the work, that the host's key cannot be judged.
func blocking<Value: Sendable>(
  on pool: BlockingPool?, _ work: @escaping @Sendable () throws(RemoteError) -> Value
) async throws(RemoteError) -> Value {
  let result: Result<Value, RemoteError> = await withCheckedContinuation { continuation in
    let job: @Sendable () -> Void = {
      do throws(RemoteError) {
        continuation.resume(returning: .success(try work()))
      } catch {
        continuation.resume(returning: .failure(error))
      }
    }
    guard let pool else {
      DispatchQueue.global().async(execute: job)
      return
    }
    do {
      try pool.submit(job)
    } catch {
      continuation.resume(
        returning: .failure(
          RemoteError(.hostKeyUnknown, phase: .host_key, "The known_hosts files cannot be read now: \(error).")))
    }
  }
  return try result.get()
}
