package import Model
package import Storage

/// One way a message can leave: e-mail, a chat service, a program. One type, one file.
///
/// A notifier knows nothing of queues, retries or other channels: it tries once, within the option's `timeout`, heeds
/// cancellation, and says what came of it.
package protocol Notifier: Sendable {
  /// Its name in `type`.
  var type: String { get }
  /// How long one delivery may take where the option does not say.
  var defaultTimeout: Duration { get }
  /// Everybody the option sends to; each gets an entry of their own. `[nil]`: the channel as a whole is the recipient.
  func recipients(_ options: NotificationOptions) -> [String?]
  /// The recipients that a message of another program names itself; the first is delivered by that entry, the others
  /// get entries of their own. Empty: it names nobody, or this type has no such thing.
  func recipients(payload: [String: Value]) -> [String]
  /// What a person has to mend in the option's fields, for `check` and for the list of problems. Reads no file.
  func problems(_ options: NotificationOptions) -> [Problem]
  /// Tries once.
  /// - Parameters:
  ///   - entry: the message; its payload holds at least `subject` and `body`, or `fields`.
  ///   - options: the way it goes out by.
  ///   - predecessor: whether the news before it was told.
  func deliver(_ entry: QueueEntry, options: NotificationOptions, predecessor: QueueLease.Predecessor) async
    -> DeliveryOutcome
}

extension Notifier {
  package func recipients(payload: [String: Value]) -> [String] { [] }
}

/// What came of one try.
package enum DeliveryOutcome: Sendable, Hashable {
  /// The peer took it; its answer.
  case delivered(receipt: String)
  /// Not now: `after` is what the peer asked for, nil leaves it to the schedule. `isUnknown`: the peer may have taken
  /// it.
  case again(after: Duration?, answer: String, isUnknown: Bool)
  /// Never, by this channel.
  case gaveUp(answer: String)
}

/// The notifiers that this build has, by type.
package struct Notifiers: Sendable {
  private let all: [String: any Notifier]

  package init(_ notifiers: [any Notifier]) {
    all = Dictionary(notifiers.map { ($0.type, $0) }, uniquingKeysWith: { _, last in last })
  }

  package subscript(type: String) -> (any Notifier)? { all[type] }

  package var types: [String] { all.keys.sorted() }

  /// What is wrong with one way out, so far as its fields tell.
  package func problems(_ options: NotificationOptions) -> [Problem] {
    guard let notifier = all[options.type] else { return [unknownType(options)] }
    return notifier.problems(options) + MessageTemplate.problems(in: options)
  }

  func unknownType(_ options: NotificationOptions) -> Problem {
    Problem(
      kind: "notification_options", id: options.id, path: "type", reason: "nothing can send by '\(options.type)'",
      hint: NearestName.hint(options.type, in: types))
  }
}

/// What the pipeline knows of channels and targets at this moment, handed in by who keeps the documents.
package struct Directory: Sendable {
  /// All notification_options documents that are in force, disabled ones too. Throws while they are not known, so that
  /// nothing is given up merely because the store is away.
  package var options: @Sendable () async throws -> [NotificationOptions]
  /// A monitored host by name; `nil`: it is gone.
  package var target: @Sendable (String) async -> Target?

  package init(
    options: @escaping @Sendable () async throws -> [NotificationOptions],
    target: @escaping @Sendable (String) async -> Target?
  ) {
    self.options = options
    self.target = target
  }

  /// The enabled options that match a target: own name before selector before generic, then by `_id`.
  func matching(target name: String, type: String? = nil) async throws -> [NotificationOptions] {
    let labels = await target(name)?.labels ?? [:]
    return try await options()
      .filter {
        $0.isEnabled && (type == nil || $0.type == type) && $0.selector.matches(name: name, labels: labels)
      }
      .sorted { ($0.selector.rank, $0.id) < ($1.selector.rank, $1.id) }
  }
}

/// Where problems go that a person has to mend.
package typealias ProblemReport = @Sendable (Problem) async -> Void
