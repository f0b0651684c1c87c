internal import CCurl
internal import Glibc
internal import Logging
internal import Threads

/// The transfer thread: it keeps the queue and the deadlines, runs all HTTP on one multi handle, and starts a thread of
/// its own for each mail.
///
/// Why mail is not on the multi handle: libcurl (7.88 at least) waits for the reply to the final dot, and to QUIT,
/// inside
/// one call, and many relays take seconds for that. On a shared thread one slow relay would hold up every transfer.
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
    /// What mail threads came back with. At most one a running mail.
    var delivered: [(id: UInt64, result: Result<TransferOutcome, TransferError>)] = []
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
  /// Mails on threads of their own, until the thread ends; `isEnded` once the caller has its answer.
  private var deliveries: [UInt64: (exchange: Exchange, isEnded: Bool)] = [:]

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
    Self.blockSignals()
    while true {
      let (cancelled, isStopping) = emptyInbox()
      cancelled.forEach(cancelHere)
      if isStopping { break }
      startQueued()
      work()
      startQueued()
      wait()
    }
    endAll(.shutDown, "transfers were shut down")
    // Every mail thread has been told; one that is resolving a name looks up once a second. Not waited for longer.
    let limit = ContinuousClock.now + .seconds(5)
    while !deliveries.isEmpty, ContinuousClock.now < limit {
      if curl_multi_poll(multi, nil, 0, 1_000, nil) != CURLM_OK { usleep(100_000) }
      _ = emptyInbox()
    }
    inbox.withLock { $0.multi = nil }
    curl_multi_cleanup(multi)
    let waiters = inbox.withLock { inbox in
      inbox.hasEnded = true
      defer { inbox.stopWaiters = [] }
      return inbox.stopWaiters
    }
    waiters.forEach { $0.resume() }
  }

  /// Takes in what came, and ends what mail threads finished.
  private func emptyInbox() -> (cancelled: [UInt64], isStopping: Bool) {
    let taken = inbox.withLock { inbox in
      defer {
        inbox.orders = []
        inbox.cancelled = []
        inbox.delivered = []
      }
      return (inbox.orders, inbox.cancelled, inbox.delivered, inbox.isStopping)
    }
    queue += taken.0
    for (id, result) in taken.2 {
      guard let delivery = deliveries.removeValue(forKey: id), !delivery.isEnded else { continue }
      end(delivery.exchange.order, result)
    }
    return (taken.1, taken.3)
  }

  private func startQueued() {
    let now = ContinuousClock.now
    var later: [TransferOrder] = []
    for order in queue {
      if order.submitted + order.totalDeadline <= now {
        let error = TransferError(.timedOut, "\(order.endpoint): the deadline passed while waiting for a free slot")
        end(order, .failure(error))
      } else if running.count + deliveries.count < configuration.maximumConcurrent {
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
      if case .mail = order.work {
        try startThread(for: exchange)
        deliveries[order.id] = (exchange, false)
        return
      }
      // CURLM_OK, or out of memory.
      guard curl_multi_add_handle(multi, exchange.easy) == CURLM_OK else {
        throw TransferError(.failed, "\(order.endpoint): out of memory")
      }
      running[exchange.easy] = exchange
    } catch {
      end(order, .failure(error))
    }
  }

  private func startThread(for exchange: Exchange) throws(TransferError) {
    var attributes = pthread_attr_t()
    pthread_attr_init(&attributes)
    defer { pthread_attr_destroy(&attributes) }
    pthread_attr_setdetachstate(&attributes, Int32(PTHREAD_CREATE_DETACHED))
    // libcurl and OpenSSL keep their buffers on the heap; 64 threads of the default size would be 512 MiB of address
    // space.
    pthread_attr_setstacksize(&attributes, 1 << 20)
    var thread = pthread_t()
    let context = Unmanaged.passRetained(MailThread(exchange: exchange, loop: self))
    let code = pthread_create(&thread, &attributes, mailThread, context.toOpaque())
    guard code == 0 else {
      context.release()
      throw TransferError(.failed, "\(exchange.order.endpoint): no thread: \(String(cString: strerror(code)))")
    }
  }

  /// On a mail thread.
  fileprivate func deliver(_ exchange: Exchange) {
    Self.blockSignals()
    let result = exchange.finish(curl_easy_perform(exchange.easy))
    inbox.withLock { inbox in
      inbox.delivered.append((exchange.order.id, result))
      Self.wake(inbox)
    }
  }

  private static func blockSignals() {
    var signals = sigset_t()
    sigfillset(&signals)
    // No signal is handled here. SIGPIPE above all: OpenSSL writes without MSG_NOSIGNAL, and with NOSIGNAL set libcurl
    // does not look after it.
    pthread_sigmask(SIG_BLOCK, &signals, nil)
  }

  /// One round of libcurl, and what ended in it.
  private func work() {
    var count: Int32 = 0
    let code = curl_multi_perform(multi, &count)
    let now = ContinuousClock.now
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
    for (exchange, isEnded) in deliveries.values where !isEnded && exchange.deadline <= now {
      breakOff(exchange, exchange.timeoutError())
    }
  }

  private func wait() {
    let now = ContinuousClock.now
    let mails = deliveries.values.filter { !$0.isEnded }.map { $0.exchange.nextLook(now: now) }
    let next = (mails + running.values.map(\.deadline) + queue.map { $0.submitted + $0.totalDeadline }).min()
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
    } else if let delivery = deliveries[id], !delivery.isEnded {
      breakOff(delivery.exchange, delivery.exchange.abandoned(.cancelled, "cancelled"))
    }
  }

  private func endAll(_ code: TransferError.Code, _ reason: String) {
    for exchange in running.values { remove(exchange, .failure(exchange.abandoned(code, reason))) }
    for (exchange, isEnded) in deliveries.values where !isEnded {
      breakOff(exchange, exchange.abandoned(code, reason))
    }
    // Also what came in since the inbox was last emptied.
    queue += inbox.withLock { inbox in
      defer { inbox.orders = [] }
      return inbox.orders
    }
    for order in queue { end(order, .failure(TransferError(code, "\(order.endpoint): \(reason)"))) }
    queue = []
  }

  /// Ends a mail for its caller now; its thread follows, and holds its slot until then.
  private func breakOff(_ exchange: Exchange, _ error: TransferError) {
    deliveries[exchange.order.id] = (exchange, true)
    exchange.breakOff()
    // Asked last: the relay may have answered at this very moment.
    end(exchange.order, exchange.acceptance.map { .success(.mail($0)) } ?? .failure(error))
  }

  /// Takes the handle from libcurl: a request that is under way is broken off without a word to the peer.
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

/// What a mail thread is started with.
private final class MailThread: Sendable {
  let exchange: Exchange
  let loop: TransferLoop

  init(exchange: Exchange, loop: TransferLoop) {
    self.exchange = exchange
    self.loop = loop
  }
}

private func mailThread(_ context: UnsafeMutableRawPointer?) -> UnsafeMutableRawPointer? {
  if let context {
    let start = Unmanaged<MailThread>.fromOpaque(context).takeRetainedValue()
    start.loop.deliver(start.exchange)
  }
  return nil
}
