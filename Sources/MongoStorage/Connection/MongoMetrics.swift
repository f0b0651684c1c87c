internal import Metrics

/// The figures of one store's calls, under the names of the reliability goals.
struct MongoMetrics: Sendable {
  func errors(_ code: String) {
    Counter(label: "store_errors_total", dimensions: [("store", "mongodb"), ("code", code)]).increment()
  }

  func retried() {
    Counter(label: "store_retries_total", dimensions: [("store", "mongodb")]).increment()
  }

  /// The call failed, and it is not known whether it was done.
  func unknownOutcome() {
    Counter(label: "store_unknown_results_total", dimensions: [("store", "mongodb")]).increment()
  }

  /// A call that was not taken or came to its turn too late.
  func refused() {
    Counter(label: "store_refused_calls_total", dimensions: [("store", "mongodb")]).increment()
  }

  static func timer(_ kind: String) -> Metrics.Timer {
    Metrics.Timer(label: "store_operation_seconds", dimensions: [("store", "mongodb"), ("kind", kind)])
  }
}
