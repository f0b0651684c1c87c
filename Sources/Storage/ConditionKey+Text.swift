package import Model

extension ConditionKey {
  /// The condition as one text: equal texts are equal conditions. Each part with its length in bytes before it, `-`
  /// where there is none.
  package var text: String {
    [reaction, target, metric, name, element].map { part in part.map { "\($0.utf8.count):\($0)" } ?? "-" }
      .joined(separator: ",")
  }
}
