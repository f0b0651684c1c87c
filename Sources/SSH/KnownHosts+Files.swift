internal import Dispatch
internal import Remote

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
func blocking<Value: Sendable>(
  _ work: @escaping @Sendable () throws(RemoteError) -> Value
) async throws(RemoteError) -> Value {
  let result: Result<Value, RemoteError> = await withCheckedContinuation { continuation in
    DispatchQueue.global().async {
      do throws(RemoteError) {
        continuation.resume(returning: .success(try work()))
      } catch {
        continuation.resume(returning: .failure(error))
      }
    }
  }
  return try result.get()
}
