internal import Model

/// Writes updates as server-sent events: `event: <type>`, `data: <JSON>`, and a comment when nothing happened for a while,
/// so that both ends notice a dead connection.
struct EventStream: Sendable {
  static let silence: Duration = .seconds(15)
  private let updates: AsyncStream<Value>

  init(_ updates: AsyncStream<Value>) { self.updates = updates }

  func write(_ put: (String) async throws -> Void) async throws {
    try await put(": syscrap\nretry: 3000\n\n")
    let merged = AsyncStream<Value?>.makeStream(bufferingPolicy: .bufferingNewest(64))
    try await withThrowingTaskGroup(of: Void.self) { group in
      let updates = updates
      group.addTask {
        for await update in updates { merged.continuation.yield(update) }
        merged.continuation.finish()
      }
      group.addTask {
        while !Task.isCancelled {
          try await Task.sleep(for: Self.silence)
          merged.continuation.yield(nil)
        }
      }
      defer {
        merged.continuation.finish()
        group.cancelAll()
      }
      for await update in merged.stream {
        guard let update else {
          try await put(": still here\n\n")
          continue
        }
        try await put("event: \(update["type"]?.text ?? "message")\ndata: \(update.json())\n\n")
      }
    }
  }
}
