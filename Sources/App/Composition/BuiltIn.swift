internal import Aggregation
internal import Notifications
internal import Reactions
internal import Transfer

/// The modules that this program has, by the names that documents use.
enum BuiltIn {
  static let metrics = MetricRegistry.standard
  static let reactions = ReactionCatalogue.names

  /// Notifiers that deliver by this engine.
  static func notifiers(_ engine: TransferEngine, host: String) -> Notifiers {
    Notifiers([EmailNotifier(host: host) { mail throws(TransferError) in try await engine.send(mail) }])
  }

  /// Notifiers that only check documents.
  static let mute = Notifiers([
    EmailNotifier(host: "localhost") { _ throws(TransferError) in
      throw TransferError(.invalidRequest, "this notifier only checks documents")
    }
  ])
}
