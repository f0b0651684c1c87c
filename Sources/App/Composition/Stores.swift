internal import Aggregation
internal import Foundation
package import Logging
internal import Model
internal import Notifications
internal import SQLiteStorage
package import Storage

/// Opens the store that the configuration names.
package enum Stores {
  package static func open(_ configuration: Configuration, logger: Logger) async throws(StorageError) -> any Storage {
    switch configuration.store {
    case .sqlite(let path):
      return try await SQLiteStorage.open(SQLiteStorage.Configuration(path: path), logger: logger)
    }
  }
}

extension Configuration {
  /// Whether the store is there already, so that looking at it makes none.
  package var hasStore: Bool {
    switch store {
    case .sqlite(let path): FileManager.default.fileExists(atPath: path)
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
    }, way: { BuiltIn.mute.problems($0) })
}
