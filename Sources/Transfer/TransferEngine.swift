package import Logging
internal import Threads

/// Sends mail and HTTP requests with libcurl, many at once: HTTP on one thread, each mail on a thread for itself.
///
/// No call blocks the caller's thread; a cancelled task ends its transfer at once. Connections are never used twice.
package final class TransferEngine: Sendable {
  /// The engine's bounds.
  package struct Configuration: Sendable, Hashable {
    /// Transfers under way at a time.
    package var maximumConcurrent = 64
    /// Transfers that wait for one of those; one more ends with `overloaded`. Waiting counts into a transfer's
    /// deadline.
    package var maximumQueued = 1_024
    package init() {}
  }

  private let loop: TransferLoop
  private let nextID = Locked<UInt64>(0)

  /// Starts the engine's thread; `shutdown()` ends it.
  ///
  /// - Throws: `failed`, when there is no memory or no thread.
  package init(configuration: Configuration = .init(), logger: Logger) throws(TransferError) {
    loop = try TransferLoop(configuration: configuration, logger: logger)
  }

  deinit {
    loop.stop()
  }

  /// Sends a request and returns the reply, whatever its status; `HTTPReply.successful()` turns a refusal into an
  /// error.
  ///
  /// - Throws: when no complete reply came. A body longer than 64 KiB is cut and no error.
  package func perform(_ request: HTTPRequest) async throws(TransferError) -> HTTPReply {
    try request.validate()
    switch try await run(.http(request), endpoint: try request.origin()).get() {
    case .http(let reply): return reply
    case .mail: throw TransferError(.failed, "a reply of another kind came back")
    }
  }

  /// Delivers one message to one recipient and returns the relay's acceptance.
  ///
  /// - Throws: with `isPermanent` by the relay's reply code, and `isOutcomeUnknown` when the relay had the whole
  ///   message and no reply came.
  package func send(_ mail: MailTransfer) async throws(TransferError) -> MailReply {
    try mail.validate()
    switch try await run(.mail(mail), endpoint: mail.relay.description).get() {
    case .mail(let reply): return reply
    case .http: throw TransferError(.failed, "a reply of another kind came back")
    }
  }

  /// Ends all transfers with `shutDown` and returns when the thread is gone. Later calls fail at once.
  package func shutdown() async {
    loop.stop()
    await loop.ended()
  }

  private func run(_ work: TransferOrder.Work, endpoint: String) async -> Result<TransferOutcome, TransferError> {
    let id = nextID.withLock { next in
      next += 1
      return next
    }
    let result = await withTaskCancellationHandler {
      await withCheckedContinuation { completion in
        loop.submit(
          TransferOrder(id: id, work: work, submitted: .now, endpoint: endpoint, completion: completion))
      }
    } onCancel: {
      loop.cancel(id)
    }
    loop.forget(id)
    return result
  }
}
