internal import CMongoC
internal import Logging
internal import Threads

/// libmongoc is started once in a process, and never ended: its own threads may still be at work when we leave.
enum MongoLibrary {
  /// Where libmongoc's own messages go. It keeps one receiver for the process: the first logger that came.
  private static let logger = Locked<Logger?>(nil)

  private static let isStarted: Bool = {
    // What it says while it starts is for the log, too: a command's own output stays clean.
    silence()
    mongoc_init()
    return true
  }()

  static func start(logger: Logger) {
    Self.logger.withLock { if $0 == nil { $0 = logger } }
    _ = isStarted
  }

  /// A function of no actor: libmongoc calls what it installs from threads of its own.
  private nonisolated static func silence() {
    mongoc_log_set_handler(
      { level, domain, message, _ in
        MongoLibrary.log(
          level, domain.map { String(cString: $0) } ?? "", message.map { String(cString: $0) } ?? "")
      }, nil)
  }

  private nonisolated static func log(_ level: mongoc_log_level_t, _ domain: String, _ message: String) {
    guard let logger = logger.withLock({ $0 }) else { return }
    let level: Logger.Level =
      switch level {
      // Whoever makes a call is told what went wrong; these lines are beside it.
      case MONGOC_LOG_LEVEL_ERROR, MONGOC_LOG_LEVEL_CRITICAL: .warning
      case MONGOC_LOG_LEVEL_WARNING, MONGOC_LOG_LEVEL_MESSAGE: .debug
      case MONGOC_LOG_LEVEL_INFO: .debug
      default: .trace
      }
    logger.log(level: level, "libmongoc", metadata: ["mongo.domain": "\(domain)", "mongo.message": "\(message)"])
  }
}
