internal import Aggregation
internal import Foundation
package import Logging
internal import Model
internal import MongoStorage
internal import Notifications
internal import SQLiteStorage
package import Storage
internal import Transfer

/// Opens the store that the configuration names.
package enum Stores {
  /// For a command: the store as it is.
  /// - Parameter reserveBytes: what is kept on the disk for notifications; commands need none.
  /// - Throws: `unavailable` when it is away.
  package static func open(
    _ configuration: Configuration, reserveBytes: Int64 = 0, logger: Logger
  ) async throws(StorageError) -> any WholeStorage {
    switch configuration.store {
    case .sqlite(let path):
      return try await SQLiteStorage.open(
        SQLiteStorage.Configuration(path: path, reserveBytes: reserveBytes), logger: logger)
    case .mongodb(let uri): return try await mongo(uri, configuration, logger)
    }
  }

  /// The store of a running service.
  struct ForService: Sendable {
    var storage: any WholeStorage
    /// The same store, where several instances may use it at the same time.
    var shared: (any LeaseStorage & FencedStorage)?
    /// The store behind its journal, where it has one.
    var journaled: JournaledStorage?
  }

  /// For the service: a store on another machine has a journal before it and may be away; it is waited for.
  static func openForService(_ configuration: Configuration, logger: Logger) async throws(StorageError) -> ForService {
    guard case .mongodb(let uri) = configuration.store else {
      return ForService(
        storage: try await open(
          configuration, reserveBytes: SQLiteStorage.usualReserveBytes, logger: logger))
    }
    let journal = try await SQLiteJournal.open(path: configuration.journalPath, logger: logger)
    var settings = JournaledStorage.Configuration()
    settings.maximumBytes = configuration.journal.maximum
    settings.isRolledUp = true
    let storage = try await JournaledStorage.open(
      journal: journal, configuration: settings, logger: logger,
      ending: { LateEnd.message(of: $0, after: $1, at: $2) },
      opening: { () async throws(StorageError) -> any WholeStorage in try await mongo(uri, configuration, logger) })
    return ForService(storage: storage, shared: storage, journaled: storage)
  }

  private static func mongo(
    _ uri: String, _ configuration: Configuration, _ logger: Logger
  ) async throws(StorageError) -> any WholeStorage {
    var settings = MongoStorage.Configuration(uri: uri, username: configuration.storeUsername)
    if let path = configuration.storePasswordFile {
      settings.password = { String(decoding: try await SecretReader().read(.file(path)).reveal(), as: UTF8.self) }
    }
    return try await MongoStorage.open(settings, logger: logger)
  }
}

extension Configuration {
  /// Whether the store is there already, so that looking at it makes none.
  package var hasStore: Bool {
    switch store {
    case .sqlite(let path): FileManager.default.fileExists(atPath: path)
    // Its documents are made by the first that writes one.
    case .mongodb: true
    }
  }
}

extension DocumentChecks {
  /// With everything that is built into this program.
  package static let standard = DocumentChecks(
    available: Availability(
      metrics: Set(BuiltIn.metrics.knownNames), reactions: BuiltIn.reactions, notifiers: Set(BuiltIn.mute.types)),
    plan: { plan in
      BuiltIn.metrics.check(plan).map { refused in
        let path = ["metrics.\(plan.metric)", refused.path].filter { !$0.isEmpty }.joined(separator: ".")
        return Problem(
          kind: DocumentKind.aggregation_options.rawValue, id: "", path: path, reason: refused.reason,
          hint: refused.hint)
      }
    }, way: { BuiltIn.mute.problems($0) }, demand: { BuiltIn.metrics.demand(of: $0) })
}
