internal import CMongoC
internal import Metrics
internal import Storage

/// One client of the pool on the thread it belongs to. It never leaves the body it is given to.
final class MongoConnection {
  /// Longest a command may be at work on the server. Shorter than the time after which its answer is no longer awaited.
  static let maxTimeMilliseconds: Int32 = 8000
  /// Documents that one answer brings at most.
  static let batch: Int32 = 1000

  let client: OpaquePointer
  let database: String
  private let metrics = MongoMetrics()
  /// By the command's name; commands are few.
  private var timers: [String: Metrics.Timer] = [:]
  /// The transaction that commands take part in.
  private var session: OpaquePointer?
  /// Longer for the building of indexes, on a client of its own.
  let maxTime: Int32
  /// What every command says of its time.
  private let timeFields: BSON
  /// What every write says besides: safe on a majority, in their journals.
  private let safetyFields: BSON

  init(client: OpaquePointer, database: String, maxTime: Int32 = MongoConnection.maxTimeMilliseconds) {
    self.client = client
    self.database = database
    self.maxTime = maxTime
    timeFields = BSON { $0.int32("maxTimeMS", maxTime) }
    safetyFields = BSON { Self.majority(&$0, maxTime) }
  }

  enum Mode: Int32 { case read = 0, write = 1, plain = 2 }

  // MARK: Commands

  /// Runs a command that changes nothing, and returns its one answer.
  /// - Parameter database: another database, such as `admin`.
  func read(_ command: BSON, database: String? = nil) throws -> BSON {
    try retrying { try run(limited(command), database: database, mode: session == nil ? .read : .plain) }
  }

  /// Runs `find`, `aggregate` or another command that answers with a cursor, and follows it to its end.
  /// - Parameter limit: most documents that are returned; the rest stays on the server.
  func find(_ command: BSON, limit: Int = Int.max) throws -> [BSON] {
    var result: [BSON] = []
    try forEach(command) { document in
      result.append(document)
      return result.count < limit
    }
    return result
  }

  /// As ``find(_:limit:)``, document by document, until `body` returns false.
  func forEach(_ command: BSON, _ body: (BSON) throws -> Bool) throws {
    var error = bson_error_t()
    // A cursor belongs to the session and, behind routers, to the server that made it.
    let own = session == nil ? mongoc_client_start_session(client, nil, &error) : nil
    guard let session = session ?? own else { throw failure(&error, nil) }
    defer { if let own { mongoc_client_session_destroy(own) } }
    var server: UInt32 = 0
    let mode: Mode = own == nil ? .plain : .read
    var reply = try retrying {
      if own != nil {
        var error = bson_error_t()
        guard let chosen = mongoc_client_select_server(client, false, nil, &error) else { throw failure(&error, nil) }
        server = mongoc_server_description_id(chosen)
        mongoc_server_description_destroy(chosen)
      }
      return try run(limited(command), mode: mode, session: session, server: server)
    }
    let name = command.firstKey ?? ""
    while true {
      guard let cursor = reply["cursor"]?.documentValue, let id = cursor["id"]?.int64Value,
        let documents = (cursor["firstBatch"] ?? cursor["nextBatch"])?.arrayValue
      else { throw BSONError.malformed }
      var goesOn = true
      var reader = BSONReader(documents)
      while goesOn, let element = try reader.next() {
        guard case .document(let document) = try reader.value(of: element) else { throw BSONError.malformed }
        goesOn = try body(document)
      }
      guard id != 0 else { return }
      let collection = collection(of: cursor) ?? command[name]?.stringValue ?? ""
      if !goesOn {
        // It would end by itself after ten minutes.
        let kill = BSON {
          $0.string("killCursors", collection)
          $0.array("cursors") { $0.int("", id) }
        }
        _ = try? run(kill, mode: .plain, session: session, server: server)
        return
      }
      let more = BSON {
        $0.int("getMore", id)
        $0.string("collection", collection)
        $0.int32("batchSize", Self.batch)
      }
      reply = try run(more, mode: .plain, session: session, server: server)
    }
  }

  /// Runs `insert`, `update`, `delete` or `findAndModify`: safe on a majority of the servers, in their journals.
  ///
  /// It is tried twice where a second try is promised to do no harm; so it must be the same when it is done twice: by
  /// key, or by comparing what stands there.
  /// - Parameter ignoring: errors of single documents that are none, such as 11000; they stand in the answer still.
  @discardableResult
  func write(_ command: BSON, ignoring: Set<Int32> = []) throws -> BSON {
    try write(BSONWriter(continuing: command), ignoring: ignoring)
  }

  /// As ``write(_:ignoring:)``, with the command that `body` writes.
  @discardableResult
  func write(writing body: (inout BSONWriter) -> Void) throws -> BSON {
    var command = BSONWriter(capacity: 1024)
    body(&command)
    return try write(command)
  }

  /// As ``write(_:ignoring:)``, with a command that is written but for what all have in common.
  @discardableResult
  func write(_ command: consuming BSONWriter, ignoring: Set<Int32> = []) throws -> BSON {
    command.fields(of: timeFields)
    // In a transaction this is said at its end.
    if session == nil { command.fields(of: safetyFields) }
    let command = command.finished()
    let reply = try retrying(isWrite: true) { try run(command, mode: session == nil ? .write : .plain) }
    try Self.check(reply, ignoring: ignoring)
    return reply
  }

  /// Other commands that write, such as `createIndexes` and `create`.
  @discardableResult
  func administer(_ command: BSON) throws -> BSON {
    let reply = try run(
      command.appending { writer in
        writer.fields(of: timeFields)
        writer.fields(of: safetyFields)
      }, mode: .plain)
    try Self.check(reply, ignoring: [])
    return reply
  }

  static func majority(_ writer: inout BSONWriter, _ maxTime: Int32) {
    writer.document("writeConcern") {
      $0.string("w", "majority")
      $0.bool("j", true)
      $0.int32("wtimeout", maxTime)
    }
  }

  /// All of what `body` writes, or nothing. Only where the deployment has transactions.
  func transaction<Result>(_ body: () throws -> Result) throws -> Result {
    var error = bson_error_t()
    guard session == nil, let session = mongoc_client_start_session(client, nil, &error) else {
      throw failure(&error, nil)
    }
    defer {
      self.session = nil
      mongoc_client_session_destroy(session)
    }
    let options = mongoc_transaction_opts_new()
    defer { mongoc_transaction_opts_destroy(options) }
    let concern = mongoc_write_concern_new()
    defer { mongoc_write_concern_destroy(concern) }
    mongoc_write_concern_set_wmajority(concern, maxTime)
    mongoc_write_concern_set_journal(concern, true)
    mongoc_transaction_opts_set_write_concern(options, concern)
    // A transaction that met another is told so and may begin anew; three times.
    var triesLeft = 3
    while true {
      guard mongoc_client_session_start_transaction(session, options, &error) else { throw failure(&error, nil) }
      self.session = session
      do {
        let result = try body()
        var bytes: UnsafeMutablePointer<UInt8>?
        let isDone = syscrap_commit(session, &bytes, &error)
        let reply = Self.take(bytes)
        if !isDone { throw failure(&error, reply) }
        return result
      } catch {
        var ignored = bson_error_t()
        _ = mongoc_client_session_abort_transaction(session, &ignored)
        triesLeft -= 1
        guard let failure = error as? MongoFailure, failure.isTransient, triesLeft > 0 else { throw error }
      }
    }
  }

  // MARK: One call

  private func limited(_ command: BSON) -> BSON {
    command["maxTimeMS"] == nil ? command.appending { $0.fields(of: timeFields) } : command
  }

  private func collection(of cursor: BSON) -> String? {
    guard let namespace = cursor["ns"]?.stringValue, let dot = namespace.firstIndex(of: ".") else { return nil }
    return String(namespace[namespace.index(after: dot)...])
  }

  /// Longest that a first try may have taken for there to be a second: a server that does not answer at all is not
  /// waited for twice.
  private static let retryableNanoseconds: Int64 = 3_000_000_000

  private func retrying(isWrite: Bool = false, _ body: () throws -> BSON) throws -> BSON {
    let began = Self.nanoseconds()
    do {
      let reply = try body()
      // A write that was done, but not yet safely, on a primary that is going away.
      if isWrite, session == nil, let failure = Self.concernFailure(reply), failure.isRetryable {
        metrics.retried()
        return try body()
      }
      return reply
    } catch let failure as MongoFailure
      where session == nil && failure.isRetryable && Self.nanoseconds() - began < Self.retryableNanoseconds
    {
      metrics.retried()
      return try body()
    }
  }

  private func run(
    _ command: BSON, database: String? = nil, mode: Mode, session: OpaquePointer? = nil, server: UInt32 = 0
  ) throws -> BSON {
    var error = bson_error_t()
    var bytes: UnsafeMutablePointer<UInt8>?
    let began = Self.nanoseconds()
    let isDone = command.bytes.withUnsafeBufferPointer { buffer in
      syscrap_command(
        client, database ?? self.database, buffer.baseAddress, buffer.count, mode.rawValue, session ?? self.session,
        server, &bytes, &error)
    }
    record(command.firstKey ?? "", nanoseconds: Self.nanoseconds() - began)
    let reply = Self.take(bytes)
    // A write concern that was not met comes as an error of the whole although the rest of the answer counts.
    if isDone || reply["ok"]?.doubleValue == 1 { return reply }
    throw failure(&error, reply)
  }

  private func failure(_ error: inout bson_error_t, _ reply: BSON?) -> MongoFailure {
    let failure = MongoFailure(&error, reply: reply)
    if failure.isUnknownOutcome { metrics.unknownOutcome() }
    return failure
  }

  /// By a clock that never goes back.
  private static func nanoseconds() -> Int64 {
    syscrap_nanoseconds()
  }

  private func record(_ kind: String, nanoseconds: Int64) {
    let timer: Metrics.Timer
    if let known = timers[kind] {
      timer = known
    } else {
      timer = MongoMetrics.timer(kind)
      timers[kind] = timer
    }
    timer.recordNanoseconds(nanoseconds)
  }

  private static func take(_ bytes: UnsafeMutablePointer<UInt8>?) -> BSON {
    guard let bytes else { return BSON() }
    defer { bson_free(bytes) }
    let raw = UnsafeRawBufferPointer(start: bytes, count: 4)
    let length = Int(UInt32(littleEndian: raw.loadUnaligned(as: UInt32.self)))
    return (try? BSON(checking: Array(UnsafeBufferPointer(start: bytes, count: length)))) ?? BSON()
  }

  // MARK: Answers

  /// Throws the first error of a single document that is not ignored, then that of the write concern.
  private static func check(_ reply: BSON, ignoring: Set<Int32>) throws {
    if let errors = reply["writeErrors"]?.arrayValue {
      for error in try errors.values() {
        guard let error = error.documentValue else { continue }
        let code = Int32(clamping: error["code"]?.int64Value ?? 0)
        if ignoring.contains(code) { continue }
        throw MongoFailure(code: code, message: error["errmsg"]?.stringValue ?? "write error \(code)")
      }
    }
    if let failure = concernFailure(reply) {
      MongoMetrics().unknownOutcome()
      throw failure
    }
  }

  private static func concernFailure(_ reply: BSON) -> MongoFailure? {
    guard let error = reply["writeConcernError"]?.documentValue else { return nil }
    let code = Int32(clamping: error["code"]?.int64Value ?? 64)
    let labels = (try? reply["errorLabels"]?.arrayValue?.values())?.compactMap(\.stringValue) ?? []
    return MongoFailure(
      code: code, message: error["errmsg"]?.stringValue ?? "write concern error \(code)", labels: Set(labels),
      isWriteConcern: true)
  }
}
