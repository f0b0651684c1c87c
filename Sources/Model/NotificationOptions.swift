/// A document of `notification_options`: one way a message can leave.
package struct NotificationOptions: Sendable, Hashable {
  package var id: String
  package var selector: TargetSelector
  /// `email`, `slack` …; a name nobody knows is a problem, not an error.
  package var type: String
  /// The fields of that type (`to`, `from`, `relay`, `username`, `password_file` …), checked on reading.
  package var options: [String: Value]
  /// Bound on one delivery; `nil`: the type's default.
  package var timeout: Duration?
  package var labels: [String: String]
  package var isEnabled: Bool

  package init(
    id: String, selector: TargetSelector, type: String, options: [String: Value], timeout: Duration? = nil,
    labels: [String: String] = [:], isEnabled: Bool = true
  ) {
    self.id = id
    self.selector = selector
    self.type = type
    self.options = options
    self.timeout = timeout
    self.labels = labels
    self.isEnabled = isEnabled
  }
}
