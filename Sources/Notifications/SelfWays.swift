internal import Model

/// By which channels the service's own news goes: as `self: {notify: [..]}` says, else by all generic ones.
struct SelfWays: Sendable {
  /// Names of notification_options; an inner list is tried in order.
  let names: [[String]]
  let notifiers: Notifiers

  /// The steps, each a list of channels in order; empty ones are left out.
  func choose(from options: [NotificationOptions]) -> [[NotificationOptions]] {
    let all = options.filter { $0.isEnabled && notifiers[$0.type] != nil }
    if names.isEmpty {
      return all.filter { $0.selector == .generic }.sorted { $0.id < $1.id }.map { [$0] }
    }
    let byName = Dictionary(all.map { ($0.id, $0) }, uniquingKeysWith: { first, _ in first })
    return names.map { $0.compactMap { byName[$0] } }.filter { !$0.isEmpty }
  }
}
