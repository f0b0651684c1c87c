internal import CMongoC
package import Storage

/// What went wrong with one command, with MongoDB's own number.
///
/// Codes: https://github.com/mongodb/mongo/blob/master/src/mongo/base/error_codes.yml
struct MongoFailure: Error, Sendable, Hashable, CustomStringConvertible {
  /// Which part of libmongoc spoke; 17 is the server itself.
  var domain: UInt32
  var code: Int32
  var message: String
  /// What the server or the driver says about it, such as `RetryableWriteError`.
  var labels: Set<String> = []
  /// The write itself was done; what failed is waiting for it to be safe.
  var isWriteConcern = false

  init(
    domain: UInt32 = MongoFailure.server, code: Int32, message: String, labels: Set<String> = [],
    isWriteConcern: Bool = false
  ) {
    self.domain = domain
    self.code = code
    self.message = message
    self.labels = labels
    self.isWriteConcern = isWriteConcern
  }

  static let server: UInt32 = 17
  private static let network = UInt32(MONGOC_ERROR_STREAM.rawValue)
  private static let selection = UInt32(MONGOC_ERROR_SERVER_SELECTION.rawValue)
  private static let client = UInt32(MONGOC_ERROR_CLIENT.rawValue)
  private static let authentication: UInt32 = 11

  var description: String { message }
  var isServer: Bool { domain == Self.server }

  var isDuplicateKey: Bool { isServer && (code == 11000 || code == 11001 || code == 12582) }
  var isTransient: Bool { labels.contains("TransientTransactionError") }
  /// A second try may be made; what it does must be the same when the first was done after all.
  ///
  /// Label, broken connection, or one of the codes by which a server says that it is going away or is not the primary:
  /// the label comes only with writes that libmongoc numbers, and not all of ours are.
  var isRetryable: Bool {
    labels.contains("RetryableWriteError") || isNetwork
      || isServer && [6, 7, 89, 91, 189, 262, 9001, 10058, 10107, 11600, 11602, 13435, 13436].contains(code)
  }
  /// No server could be asked at all.
  var isUnreachable: Bool { domain == Self.selection }
  /// The name or the password is wrong, or they do not allow this.
  var isRefusal: Bool {
    domain == Self.client && code == Int32(MONGOC_ERROR_CLIENT_AUTHENTICATE.rawValue)
      || domain == UInt32(MONGOC_ERROR_SCRAM.rawValue) || isServer && (code == 18 || code == 13)
  }
  var isNetwork: Bool { domain == Self.network }
  /// MongoDB has no such thing: change streams on a standalone, a command of a newer version.
  var isUnsupported: Bool { isServer && (code == 115 || code == 40573 || code == 59 || code == 166) }
  var isNoSuchCollection: Bool { isServer && code == 26 }
  /// An index that a command names is not there: somebody dropped it, or its collection. 27 IndexNotFound, 291
  /// NoQueryExecutionPlans; for hints the server says BadValue.
  var isNoSuchIndex: Bool { isServer && (code == 27 || code == 291 || code == 2 && message.contains("hint")) }

  /// The command may have been done: the connection broke on the way, the time ran out, or the primary stepped down.
  var isUnknownOutcome: Bool {
    if isWriteConcern || isNetwork { return true }
    // 50 MaxTimeMSExpired, 91 ShutdownInProgress, 189 PrimarySteppedDown, 11600 and 11602: interrupted.
    return isServer && [50, 91, 189, 262, 11600, 11602].contains(code)
  }

  /// What it means to those who use the store.
  /// - Parameters:
  ///   - doing: what was tried, in a person's words.
  ///   - place: the store, without anything secret.
  ///   - replicaSet: the set's name that the address asks for.
  func storageError(doing: String, place: String, replicaSet: String? = nil) -> StorageError {
    let (code, advice) = isUnreachable ? (.unavailable, selectionAdvice(replicaSet)) : meaning
    return StorageError(code, "\(doing) in \(place): \(message)\(advice)", rawCode: Int(self.code))
  }

  private var meaning: (StorageError.Code, String) {
    if isDuplicateKey { return (.conflict, "") }
    if isRefusal {
      return (
        .unavailable,
        "; check store_username, the password and authSource in the address, and that the user may read and write there"
      )
    }
    if isNetwork { return (.unavailable, "") }
    if isWriteConcern { return (.unavailable, "; it is not yet safe on a majority of the servers") }
    guard isServer else { return (domain == UInt32(MONGOC_ERROR_BSON.rawValue) ? .internalError : .unavailable, "") }
    switch self.code {
    // OutOfDiskSpace; quota.
    case 14031, 12501: return (.full, "; make room on the database server's disk")
    // UnknownError with ENOSPC comes as text.
    case 8 where message.contains("No space left"): return (.full, "; make room on the database server's disk")
    // MaxTimeMSExpired, network, stepping down, not primary, shutting down, snapshot and lock time-outs; 112 and 246:
    // others write the same at this moment, and the next try finds them done.
    case 6, 7, 24, 43, 50, 63, 64, 79, 89, 91, 100, 112, 133, 134, 150, 189, 202, 234, 237, 246, 251, 262, 317, 358,
      9001, 10058, 10107, 11600, 11602, 13388, 13435, 13436, 13475:
      return (.unavailable, "")
    // DatabaseDifferCase.
    case 13297:
      return (
        .corrupt,
        "; upper and lower case count in the database's name: write it in the address as the server has it, or take another"
      )
    case 85, 86, 67, 121, 10334, 17280: return (.corrupt, "")
    default: return (.internalError, "")
    }
  }

  private func selectionAdvice(_ replicaSet: String?) -> String {
    let text = message.lowercased()
    if text.contains("certificate") || text.contains("tls") {
      return "; check tlsCAFile in the address and the server's certificate"
    }
    // A server of another set, or of none, is passed over without a word.
    if let replicaSet {
      return "; is mongod running, is the address right, and is \(replicaSet) the name of the replica set there?"
    }
    return "; is mongod running, and is the address right?"
  }
}

/// Error codes of the server that more than one file names.
enum MongoCodes {
  static let duplicateKey: Int32 = 11000
}

extension MongoStorage {
  /// Whether the servers refused the user: the name, the password, or what they allow.
  package static func refusesUser(_ error: StorageError) -> Bool {
    error.code == .unavailable && MongoFailure.isRefusal(error)
  }
}

extension MongoFailure {
  /// Whether a store's error is a refusal of the user, which waiting does not mend.
  static func isRefusal(_ error: StorageError) -> Bool {
    error.rawCode == 18 || error.rawCode == 13 || error.rawCode == 11
  }

  init(_ error: inout bson_error_t, reply: BSON?) {
    var labels: Set<String> = []
    if let list = reply?["errorLabels"]?.arrayValue, let values = try? list.values() {
      labels = Set(values.compactMap(\.stringValue))
    }
    self.init(
      domain: error.domain, code: Int32(truncatingIfNeeded: error.code),
      message: withUnsafePointer(to: error) { String(cString: syscrap_error_text($0)) }, labels: labels)
  }
}
