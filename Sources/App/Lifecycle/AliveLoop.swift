internal import Glibc
internal import Supervision
internal import Threads

/// Touches a file while the service is well, so that anything outside can see it.
///
/// The file's age passes its interval as soon as the process ends, the loop hangs, or the service says it is not well.
struct AliveLoop: Supervised {
  let path: String
  let interval: Duration
  let clock: any Clock<Duration>
  let pool: BlockingPool
  let beat: @Sendable () -> Void
  let isWell: @Sendable () async -> Bool

  func run() async throws {
    while true {
      beat()
      if await isWell() {
        let path = path
        try await pool.run { try Touch.now(path) }
      }
      try await clock.sleep(for: interval)
    }
  }
}

/// Restarts the service when its file is touched. The file is made when it is missing; the time it has at the start does
/// not count.
struct RestartWatch: Supervised {
  static let interval: Duration = .seconds(1)
  let path: String
  let clock: any Clock<Duration>
  let pool: BlockingPool
  let beat: @Sendable () -> Void
  let fire: @Sendable () async -> Void

  func run() async throws {
    let path = path
    var last = try await pool.run { try Touch.time(path, making: true) }
    while true {
      beat()
      try await clock.sleep(for: Self.interval)
      let now = try await pool.run { try Touch.time(path, making: true) }
      if now != last {
        last = now
        await fire()
      }
    }
  }
}

/// Times of files.
enum Touch {
  struct Failure: Error, CustomStringConvertible {
    var description: String
  }

  static func now(_ path: String) throws {
    let descriptor = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0o644)
    guard descriptor >= 0 else {
      throw Failure(description: "\(path) cannot be touched: \(String(cString: strerror(errno)))")
    }
    futimens(descriptor, nil)
    close(descriptor)
  }

  /// Nanoseconds of its last change.
  static func time(_ path: String, making: Bool) throws -> Int64 {
    var status = stat()
    if stat(path, &status) != 0 {
      guard making else { throw Failure(description: "\(path) is not there") }
      try now(path)
      guard stat(path, &status) == 0 else {
        throw Failure(description: "\(path) cannot be looked at: \(String(cString: strerror(errno)))")
      }
    }
    return Int64(status.st_mtim.tv_sec) &* 1_000_000_000 &+ Int64(status.st_mtim.tv_nsec)
  }
}
