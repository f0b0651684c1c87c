internal import Model

/// Writes updates as server-sent events: `event: <type>`, `data: <JSON>`, and a comment when nothing happened for a while,
/// so that both ends notice a dead connection.
struct EventStream: Sendable {
  static let type = "text/event-stream"
  static let silence: Duration = .seconds(15)

  private let updates: AsyncStream<Value>
  private let clock: any Clock<Duration>

  init(_ updates: AsyncStream<Value>, clock: any Clock<Duration>) {
    self.updates = updates
    self.clock = clock
  }

  /// Writes until the updates end, the client is gone or the task is cancelled.
  ///
  /// - Parameters:
  ///   - whenGone: is given a closure that ends the stream, to be called once the client has left.
  ///   - put: sends text; throws when it cannot.
  func write(
    whenGone: (@escaping @Sendable () -> Void) -> Void = { _ in }, _ put: (String) async throws -> Void
  ) async throws {
    // 64 updates wait for a slow reader, then the oldest go; a later row of the same target makes up for them.
    let merged = AsyncStream<Value?>.makeStream(bufferingPolicy: .bufferingNewest(64))
    whenGone { merged.continuation.finish() }
    try await put(": syscrap\nretry: 3000\n\n")
    try await withThrowingTaskGroup(of: Void.self) { group in
      let (updates, clock) = (updates, clock)
      group.addTask {
        for await update in updates { merged.continuation.yield(update) }
        merged.continuation.finish()
      }
      group.addTask {
        while !Task.isCancelled {
          try await clock.sleep(for: Self.silence)
          merged.continuation.yield(nil)
        }
      }
      defer {
        merged.continuation.finish()
        group.cancelAll()
      }
      for await update in merged.stream {
        try await put(update.map(Self.event) ?? ": still here\n\n")
      }
    }
  }

  /// One event. JSON has no line breaks of its own; a type that is more than a word is not passed on.
  static func event(_ update: Value) -> String {
    let type = update["type"]?.text ?? ""
    let isWord = !type.isEmpty && type.utf8.allSatisfy { UInt8(ascii: "a")...UInt8(ascii: "z") ~= $0 }
    return "event: \(isWord ? type : "message")\ndata: \(update.json())\n\n"
  }
}
