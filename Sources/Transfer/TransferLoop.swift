internal import CCurl
internal import Glibc
internal import Logging
internal import Threads

/// The one thread on which libcurl works, and the inbox through which others reach it.
final class TransferLoop: @unchecked Sendable {
  // Sendable is true: `inbox` is locked; `configuration` and `logger` are constant; all other stored properties are
  // touched by the transfer thread only, once it is started.
  private struct Inbox {
    /// The handle to wake the thread with; nil once it is about to be freed.
    var multi: UnsafeMutableRawPointer?
    /// At most `maximumConcurrent` + `maximumQueued` together with what the thread holds: more is refused.
    var orders: [TransferOrder] = []
    /// Accepted and not ended.
    var accepted: Set<UInt64> = []
    /// Cancelled after they were accepted.
    var cancelled: [UInt64] = []
    /// Cancelled before they came in; each is taken out by its own caller.
    var cancelledEarly: Set<UInt64> = []
    var isStopping = false
    var hasEnded = false
    var stopWaiters: [CheckedContinuation<Void, Never>] = []
  }

  private let inbox: Locked<Inbox>
  private let configuration: TransferEngine.Configuration
  private let logger: Logger

  private let multi: UnsafeMutableRawPointer
  private let sockets = SocketTable()
  private var queue: [TransferOrder] = []
  private var running: [UnsafeMutableRawPointer: Exchange] = [:]

  /// Starts the thread. `stop()` ends it.
  init(configuration: TransferEngine.Configuration, logger: Logger) throws(TransferError) {
    // CURLE_OK, or out of memory. Safe from any thread since 7.84, and counted: a second call is no work.
    guard curl_global_init(ccurl_global_everything()) == CURLE_OK, let multi = curl_multi_init() else {
      throw TransferError(.failed, "libcurl cannot be initialised: out of memory")
    }
    self.multi = multi
    self.configuration = configuration
    self.logger = logger
    inbox = Locked(Inbox())
    inbox.withLock { [address = UInt(bitPattern: multi)] in $0.multi = UnsafeMutableRawPointer(bitPattern: address) }

    var thread = pthread_t()
    let context = Unmanaged.passRetained(self)
    let code = pthread_create(&thread, nil, transferThread, context.toOpaque())
    guard code == 0 else {
      context.release()
      curl_multi_cleanup(multi)
      throw TransferError(.failed, "no thread for transfers: \(String(cString: strerror(code)))")
    }
    pthread_detach(thread)
  }

  // MARK: From any thread

  func submit(_ order: TransferOrder) {
    let bound = configuration.maximumConcurrent + configuration.maximumQueued
    let refusal: TransferError? = inbox.withLock { inbox in
      if inbox.isStopping { return TransferError(.shutDown, "\(order.endpoint): transfers are shut down") }
      if inbox.cancelledEarly.contains(order.id) {
        return TransferError(.cancelled, "\(order.endpoint): cancelled before it began")
      }
      guard inbox.accepted.count < bound else {
        return TransferError(.overloaded, "\(order.endpoint): \(bound) transfers are waiting or running already")
      }
      inbox.accepted.insert(order.id)
      inbox.orders.append(order)
      Self.wake(inbox)
      return nil
    }
    if let refusal { order.completion.resume(returning: .failure(refusal)) }
  }

  func cancel(_ id: UInt64) {
    inbox.withLock { inbox in
      if inbox.accepted.contains(id) {
        inbox.cancelled.append(id)
        Self.wake(inbox)
      } else {
        inbox.cancelledEarly.insert(id)
      }
    }
  }

  /// To be called when a caller is done: a cancellation that came after the end leaves nothing behind.
  func forget(_ id: UInt64) {
    inbox.withLock { _ = $0.cancelledEarly.remove(id) }
  }

  func stop() {
    inbox.withLock { inbox in
      inbox.isStopping = true
      Self.wake(inbox)
    }
  }

  /// Returns when the thread has ended.
  func ended() async {
    await withCheckedContinuation { continuation in
      let hasEnded = inbox.withLock { inbox in
        if !inbox.hasEnded { inbox.stopWaiters.append(continuation) }
        return inbox.hasEnded
      }
      if hasEnded { continuation.resume() }
    }
  }

  /// Under the lock, so that the handle is not freed meanwhile. Does not wait: it writes one byte.
  private static func wake(_ inbox: Inbox) {
    if let multi = inbox.multi { curl_multi_wakeup(multi) }
  }

  // MARK: On the transfer thread

  fileprivate func run() {
    var signals = sigset_t()
    sigfillset(&signals)
    // No signal is handled here. SIGPIPE above all: OpenSSL writes without MSG_NOSIGNAL, and with NOSIGNAL set libcurl
    // does not look after it.
    pthread_sigmask(SIG_BLOCK, &signals, nil)

    while true {
      let (orders, cancelled, isStopping) = inbox.withLock { inbox in
        defer {
          inbox.orders = []
          inbox.cancelled = []
        }
        return (inbox.orders, inbox.cancelled, inbox.isStopping)
      }
      queue += orders
      cancelled.forEach(cancelHere)
      if isStopping { break }
      startQueued()
      work()
      startQueued()
      wait()
    }
    endAll(.shutDown, "transfers were shut down")
    inbox.withLock { $0.multi = nil }
    curl_multi_cleanup(multi)
    let waiters = inbox.withLock { inbox in
      inbox.hasEnded = true
      defer { inbox.stopWaiters = [] }
      return inbox.stopWaiters
    }
    waiters.forEach { $0.resume() }
  }

  private func startQueued() {
    let now = ContinuousClock.now
    var later: [TransferOrder] = []
    for order in queue {
      if order.submitted + order.totalDeadline <= now {
        let error = TransferError(.timedOut, "\(order.endpoint): the deadline passed while waiting for a free slot")
        end(order, .failure(error))
      } else if running.count < configuration.maximumConcurrent {
        start(order, now: now)
      } else {
        later.append(order)
      }
    }
    queue = later
  }

  private func start(_ order: TransferOrder, now: ContinuousClock.Instant) {
    do throws(TransferError) {
      let exchange = try Exchange(order, sockets: sockets, now: now)
      // CURLM_OK, or out of memory.
      guard curl_multi_add_handle(multi, exchange.easy) == CURLM_OK else {
        throw TransferError(.failed, "\(order.endpoint): out of memory")
      }
      running[exchange.easy] = exchange
    } catch {
      end(order, .failure(error))
    }
  }

  /// One round of libcurl, and what ended in it.
  private func work() {
    var count: Int32 = 0
    let code = curl_multi_perform(multi, &count)
    let now = ContinuousClock.now
    running.values.forEach { $0.observe(now: now) }
    var left: Int32 = 0
    while let message = curl_multi_info_read(multi, &left) {
      guard message.pointee.msg == CURLMSG_DONE, let easy = message.pointee.easy_handle,
        let exchange = running[easy]
      else { continue }
      // Read before the handle is removed: the message dies with it.
      let result = exchange.finish(ccurl_message_result(message))
      remove(exchange, result)
    }
    if code != CURLM_OK {
      // Out of memory, or a fault in libcurl: nobody is left waiting.
      logger.error("libcurl failed", metadata: ["transfer.multi_code": "\(code.rawValue)"])
      endAll(.failed, "libcurl failed: \(String(cString: curl_multi_strerror(code)))")
    }
    for exchange in running.values where exchange.deadline <= now {
      remove(exchange, .failure(exchange.timeoutError()))
    }
  }

  private func wait() {
    let now = ContinuousClock.now
    let next = (running.values.map(\.deadline) + queue.map { $0.submitted + $0.totalDeadline }).min()
    let longest = Duration.seconds(60)
    let timeout = min(next.map { $0 - now } ?? longest, longest).positiveMilliseconds
    // CURLM_OK. Anything else must not turn this thread into a hot loop.
    if curl_multi_poll(multi, nil, 0, Int32(timeout), nil) != CURLM_OK { usleep(100_000) }
  }

  private func cancelHere(_ id: UInt64) {
    if let index = queue.firstIndex(where: { $0.id == id }) {
      let order = queue.remove(at: index)
      end(order, .failure(TransferError(.cancelled, "\(order.endpoint): cancelled before it began")))
    } else if let exchange = running.values.first(where: { $0.order.id == id }) {
      remove(exchange, .failure(exchange.abandoned(.cancelled, "cancelled")))
    }
  }

  private func endAll(_ code: TransferError.Code, _ reason: String) {
    for exchange in running.values { remove(exchange, .failure(exchange.abandoned(code, reason))) }
    // Also what came in since the inbox was last emptied.
    queue += inbox.withLock { inbox in
      defer { inbox.orders = [] }
      return inbox.orders
    }
    for order in queue { end(order, .failure(TransferError(code, "\(order.endpoint): \(reason)"))) }
    queue = []
  }

  /// Takes the handle from libcurl: a transfer that is under way is broken off without a word to the peer.
  private func remove(_ exchange: Exchange, _ result: Result<TransferOutcome, TransferError>) {
    curl_multi_remove_handle(multi, exchange.easy)
    running[exchange.easy] = nil
    end(exchange.order, result)
  }

  private func end(_ order: TransferOrder, _ result: Result<TransferOutcome, TransferError>) {
    inbox.withLock { _ = $0.accepted.remove(order.id) }
    var metadata: Logger.Metadata = [
      "transfer.id": "\(order.id)", "transfer.endpoint": "\(order.endpoint)",
      "transfer.duration": "\(ContinuousClock.now - order.submitted)",
    ]
    if let error = result.error {
      metadata["transfer.code"] = "\(error.code.rawValue)"
      metadata["transfer.response_code"] = "\(error.responseCode)"
    }
    logger.debug("transfer ended", metadata: metadata)
    order.completion.resume(returning: result)
  }
}

private func transferThread(_ context: UnsafeMutableRawPointer?) -> UnsafeMutableRawPointer? {
  if let context { Unmanaged<TransferLoop>.fromOpaque(context).takeRetainedValue().run() }
  return nil
}
