internal import FoundationEssentials
internal import Model

/// What ``OutageNotice`` keeps outside of the store, so that it can speak after a restart while the store is away: the
/// ways out, without secrets (documents hold references to them only; whatever looks like one is left out all the same),
/// and what was said of the outage that lasts.
struct OutageMemory: Sendable, Hashable, Codable {
  struct Way: Sendable, Hashable, Codable {
    var id: String
    var type: String
    var options: Value
    /// Seconds.
    var timeout: Double?
  }

  struct Told: Sendable, Hashable, Codable {
    /// Milliseconds since 1970; part of both messages' keys.
    var since: Int64
    /// Whether anybody has taken the message that the store is away.
    var isTold: Bool
  }

  var ways: [[Way]] = []
  var outage: Told?
  /// When the last outages were told, in milliseconds since 1970; at most as many as may be told in a while.
  var announcements: [Int64]?

  static func ways(_ steps: [[NotificationOptions]]) -> [[Way]] {
    steps.map { step in step.compactMap(way) }.filter { !$0.isEmpty }
  }

  /// `nil`: it cannot be kept without a secret.
  private static func way(_ options: NotificationOptions) -> Way? {
    var kept: [String: Value] = [:]
    for (name, value) in options.options {
      if LiteralSecrets.advice(for: name, allowed: []) != nil || name == "headers" { return nil }
      if LiteralSecrets.holdsPassword(value.json()) { return nil }
      kept[name] = value
    }
    let timeout = options.timeout.map {
      Double($0.components.seconds) + Double($0.components.attoseconds) / 1e18
    }
    return Way(id: options.id, type: options.type, options: .object(kept), timeout: timeout)
  }

  var options: [[NotificationOptions]] {
    ways.map { step in
      step.map { way in
        NotificationOptions(
          id: way.id, selector: .generic, type: way.type, options: way.options.fields ?? [:],
          timeout: way.timeout.flatMap { $0.isFinite && $0 > 0 && $0 < 86_400 ? .seconds($0) : nil })
      }
    }
  }

  init() {}

  /// - Returns: nil when the bytes are none of ours.
  init?(_ bytes: [UInt8]) {
    guard let read = try? JSONDecoder().decode(Self.self, from: Data(bytes)) else { return nil }
    self = read
  }

  var bytes: [UInt8]? {
    (try? JSONEncoder().encode(self)).map { [UInt8]($0) }
  }
}
