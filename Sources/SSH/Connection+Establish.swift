internal import CSSH2
internal import Glibc
internal import Remote
internal import Threads

extension Connection {
  /// Resolves, connects, checks the host key, logs in. Ends the connection and throws when anything fails.
  func establish() async throws(RemoteError) {
    guard state == .new else { throw goneError }
    state = .establishing
    let started = EventLoop.now()
    metrics.attemptBegan()
    do {
      if let passage {
        try await enter(passage)
      } else {
        let addresses = try await resolve()
        try await connect(addresses)
      }
      try await handshake()
      try await checkHostKey()
      try await authenticate()
    } catch {
      // A deadline or a cancellation has ended the connection with its own words.
      let reason = state == .ended ? (endReason ?? cancelled) : error
      end(reason)
      metrics.attempt(result: reason.code.rawValue, phase: reason.phase.rawValue)
      throw reason
    }
    loop.cancel(phaseTimer)
    state = .open
    // It ends the connection when channels overlap (seen in 2022.83).
    if known.serverBanner.contains("dropbear") { bound = 1 }
    metrics.attempt(result: "ok", phase: "connection")
    metrics.handshake(nanoseconds: EventLoop.now() &- started)
    metrics.connectionOpened()
    lastReceived = EventLoop.now()
    watchIdle()
  }

  var cancelled: RemoteError {
    RemoteError(.closed, phase: phase, "Connecting to \(endpoint.host) was cancelled.")
  }

  /// Starts a phase: its deadline ends the connection with an error that names it.
  func begin(_ phase: RemoteError.Phase, within deadline: Duration) {
    self.phase = phase
    loop.cancel(phaseTimer)
    phaseTimer = loop.schedule(after: deadline) {
      self.assumeIsolated { connection in
        connection.end(
          RemoteError(.timedOut, phase: connection.phase, connection.lateness(deadline)))
      }
    }
  }

  private func lateness(_ deadline: Duration) -> String {
    let host = "\(endpoint.host):\(endpoint.port)"
    return switch phase {
    case .resolve: "Looking up \(endpoint.host) took longer than \(deadline)."
    case .connect: "No TCP connection to \(host) within \(deadline): the host or the path to it is dead."
    case .banner: "\(host) accepted the connection but sent no SSH banner within \(deadline)."
    case .key_exchange: "\(host) did not finish the key exchange within \(deadline)."
    case .host_key: "Checking the host key of \(host) took longer than \(deadline)."
    case .authenticate: "Logging in to \(host) as \(endpoint.user) took longer than \(deadline)."
    default: "\(host) did not answer within \(deadline)."
    }
  }

  // MARK: waiting

  /// Throws when the connection has ended meanwhile.
  func checkAlive() throws(RemoteError) {
    if state == .ended { throw endReason ?? cancelled }
  }

  /// Returns at the next event of the socket, or when the connection ended.
  func nextEvent() async throws(RemoteError) {
    await withCheckedContinuation { eventWaiter = $0 }
    try checkAlive()
  }

  /// Waits for something that happens elsewhere, but no longer than the connection lives.
  ///
  /// - Parameter start: begins it and calls its parameter once, from any thread; returns how to give it up, where that
  ///   is possible.
  func outside<Value: Sendable>(
    _ start: (@escaping @Sendable (Value) -> Void) -> (() -> Void)?
  ) async throws(RemoteError) -> Value {
    let once = Once<Value>()
    let value = await withCheckedContinuation { continuation in
      once.continuation = continuation
      let giveUp = start { [loop] value in loop.execute { once.resume(value) } }
      abandonOutside = {
        giveUp?()
        once.resume(nil)
      }
    }
    abandonOutside = nil
    try checkAlive()
    guard let value else { throw cancelled }
    return value
  }

  /// Waits for asynchronous work that is not this actor's; it is cancelled when the connection ends.
  func outside<Value: Sendable>(
    _ body: @escaping @Sendable () async throws(RemoteError) -> Value
  ) async throws(RemoteError) -> Value {
    let result: Result<Value, RemoteError> = try await outside { resume in
      let task = Task {
        do throws(RemoteError) {
          resume(.success(try await body()))
        } catch {
          resume(.failure(error))
        }
      }
      return { task.cancel() }
    }
    return try result.get()
  }

  /// Waits for a blocking call on a thread of a pool.
  func blocking<Value: Sendable>(
    on pool: BlockingPool? = nil, _ body: @escaping @Sendable () -> Value
  ) async throws(RemoteError) -> Value {
    let pool = pool ?? group.blocking
    let result: Value? = try await outside { (resume: @escaping @Sendable (Value?) -> Void) in
      do throws(ThreadError) {
        try pool.submit { resume(body()) }
      } catch {
        resume(nil)
      }
      return nil
    }
    guard let result else {
      throw RemoteError(.closed, phase: phase, "No thread is free for a call that waits; too many wait already.")
    }
    return result
  }

  /// Repeats a call of the library until it no longer would block.
  ///
  /// - Parameter pause: checked after each call that would block; true returns EAGAIN to the caller.
  func drive(
    pause: () -> Bool = { false }, _ operation: (OpaquePointer) -> Int32
  ) async throws(RemoteError) -> Int32 {
    while true {
      try checkAlive()
      guard let session, let context else { throw goneError }
      let before = context.pointee.received
      let code = operation(session)
      noteBanner()
      guard code == LIBSSH2_ERROR_EAGAIN, !pause() else { return code }
      // EAGAIN may come before the socket is empty; no edge will tell of what lies there already.
      if !context.pointee.isDry && context.pointee.received != before { continue }
      try await nextEvent()
    }
  }

  private func noteBanner() {
    guard phase == .banner, let session, let text = libssh2_session_banner_get(session) else { return }
    let banner = String(decoding: UnsafeRawBufferPointer(start: text, count: min(strlen(text), 255)), as: UTF8.self)
    guard banner.hasPrefix("SSH-") else { return }
    known.serverBanner = String(banner.filter { $0.isASCII && ($0.asciiValue ?? 0) >= 0x20 && $0 != "\u{7F}" })
    phase = .key_exchange
    context?.pointee.keepsOpening = false
  }

  // MARK: phases

  private func resolve() async throws(RemoteError) -> [TCPSocket.Address] {
    begin(.resolve, within: configuration.resolve)
    let host = endpoint.host
    let port = endpoint.port
    guard (1...65_535).contains(port), !host.isEmpty, !host.utf8.contains(0) else {
      throw RemoteError(.unreachable, phase: .resolve, "\(host):\(port) is no address.")
    }
    if case .success(let addresses) = TCPSocket.resolve(host, port: port, numericOnly: true) { return addresses }
    switch try await blocking(on: group.lookups, { TCPSocket.resolve(host, port: port, numericOnly: false) }) {
    case .success(let addresses): return addresses
    case .failure(let error):
      throw RemoteError(.unreachable, phase: .resolve, "\(host) does not resolve: \(error.message).")
    }
  }

  private func connect(_ addresses: [TCPSocket.Address]) async throws(RemoteError) {
    begin(.connect, within: configuration.connect)
    var failure = RemoteError(.unreachable, phase: .connect, "\(endpoint.host) has no address.")
    for (index, address) in addresses.enumerated() {
      let attempt = EventLoop.now()
      switch TCPSocket.connecting(to: address, configuration) {
      case .failure(let error):
        failure = connectFailure(address, error)
        continue
      case .success(let new):
        descriptor = new
      }
      let context = UnsafeMutablePointer<SocketContext>.allocate(capacity: 1)
      context.initialize(to: SocketContext())
      self.context = context
      guard loop.add(descriptor, self) else {
        releaseSocket()
        throw RemoteError(.unreachable, phase: .connect, "The event loop cannot watch another socket: errno \(errno).")
      }
      // An address that does not answer must leave time for the next.
      let isLast = index == addresses.count - 1
      isAddressLate = false
      let patience = loop.schedule(after: configuration.connect / (isLast ? 1 : addresses.count)) {
        self.assumeIsolated { connection in
          connection.isAddressLate = true
          connection.eventWaiter?.resume()
          connection.eventWaiter = nil
        }
      }
      defer { loop.cancel(patience) }
      var error = TCPSocket.pendingError(descriptor)
      while error == nil, !TCPSocket.isConnected(descriptor), !isAddressLate {
        try await nextEvent()
        error = TCPSocket.pendingError(descriptor)
      }
      if error == nil, TCPSocket.isConnected(descriptor) {
        known.address = address.text
        known.latency_ms = Double(EventLoop.now() &- attempt) / 1e6
        context.pointee.hasHangup = false
        context.pointee.isDry = false
        return
      }
      releaseSocket()
      failure = connectFailure(address, TCPSocket.ErrorNumber(code: error ?? ETIMEDOUT))
    }
    throw failure
  }

  /// Has the jump host connect to the host; the name is looked up there. The tunnel has deadlines of its own.
  private func enter(_ passage: Passage) async throws(RemoteError) {
    phase = .connect
    let (host, port) = (endpoint.host, endpoint.port)
    guard (1...65_535).contains(port), !host.isEmpty, !host.utf8.contains(0), host.utf8.count <= 255 else {
      throw RemoteError(.unreachable, phase: .resolve, "\(host):\(port) is no address.")
    }
    let started = EventLoop.now()
    let tunnel = Tunnel(host: host, port: port, inner: self, jump: passage.name, id: nextID())
    let context = UnsafeMutablePointer<SocketContext>.allocate(capacity: 1)
    context.initialize(to: SocketContext())
    context.pointee.tunnel = Unmanaged.passUnretained(tunnel)
    self.context = context
    self.tunnel = tunnel
    let result: Result<Void, RemoteError> = try await outside { resume in
      tunnel.opened = { resume($0) }
      passage.outer.assumeIsolated { $0.open(tunnel) }
      return nil
    }
    try result.get()
    known.jump = path(through: passage)
    known.address = host
    known.latency_ms = Double(EventLoop.now() &- started) / 1e6
  }

  private func path(through passage: Passage) -> String {
    let before = passage.outer.assumeIsolated { $0.known.jump }
    return before.isEmpty ? passage.name : "\(before),\(passage.name)"
  }

  private func connectFailure(_ address: TCPSocket.Address, _ error: TCPSocket.ErrorNumber) -> RemoteError {
    let what =
      switch error.code {
      case ECONNREFUSED: "refuses the connection: nothing listens there."
      case EMFILE:
        "is not connected to: no file descriptor is left for targets, the last \(TCPSocket.reserve) are kept for store, "
          + "queue and HTTP (raise LimitNOFILE)."
      case ENFILE: "cannot be connected to: the system has no file descriptor left (see fs.file-max)."
      default: "cannot be connected to: \(error.text)."
      }
    return RemoteError(
      error.code == ETIMEDOUT ? .timedOut : .unreachable, phase: .connect,
      "\(address.text) port \(endpoint.port) \(what)", rawCode: error.code)
  }

  private func handshake() async throws(RemoteError) {
    begin(.banner, within: configuration.handshake)
    guard LibSSH2.start(), let context, let session = libssh2_session_init_ex(nil, nil, nil, context) else {
      throw RemoteError(.protocolError, phase: .banner, "libssh2 cannot start a session.")
    }
    self.session = session
    libssh2_session_set_blocking(session, 0)
    cssh2_set_socket_functions(session, receiveFromSocket, sendToSocket)
    let (policy, host, port) = (hostKeys, endpoint.host, endpoint.port)
    let known = try await outside { () throws(RemoteError) in
      try await policy.preferredKeyTypes(host: host, port: port)
    }
    for kind in SSHConfiguration.AlgorithmKind.allCases {
      let list = Algorithms.list(
        kind, first: kind == .host_key ? known : [], additional: configuration.additionalAlgorithms[kind] ?? [])
      for method in Algorithms.methods(kind) where libssh2_session_method_pref(session, method, list) != 0 {
        throw RemoteError(
          .noCommonAlgorithm, phase: .key_exchange, "libssh2 knows none of our algorithms for \(kind.rawValue).")
      }
    }
    // The library only asks it whether it blocks: what it reads and writes goes through the callbacks.
    let socket = baseDescriptor
    let code = try await drive { libssh2_session_handshake($0, socket) }
    guard code == 0 else { throw handshakeFailure(code) }
    phase = .key_exchange
    self.known.keyExchange = method(LIBSSH2_METHOD_KEX)
    self.known.cipher = method(LIBSSH2_METHOD_CRYPT_SC)
    self.known.mac = method(LIBSSH2_METHOD_MAC_SC)
    self.known.hostKeyType = method(LIBSSH2_METHOD_HOSTKEY)
  }

  private func method(_ kind: Int32) -> String {
    guard let session, let name = libssh2_session_methods(session, kind) else { return "" }
    return String(cString: name)
  }

  /// A server that turns us away says so in plain text in the banner's place.
  private func handshakeFailure(_ code: Int32) -> RemoteError {
    let text = context?.pointee.openingText ?? ""
    for refusal in ["Exceeded MaxStartups", "Not allowed at this time"] where text.contains(refusal) {
      return RemoteError(
        .refusedByPolicy, phase: .banner,
        "\(endpoint.host) turns us away for now (\"\(refusal)\"): too many logins at once, or a penalty.", rawCode: code
      )
    }
    if code == LIBSSH2_ERROR_KEX_FAILURE {
      return RemoteError(
        .noCommonAlgorithm, phase: .key_exchange,
        "\(endpoint.host) (\(known.serverBanner)) and we share no modern algorithm; `doctor` lists both sides.",
        rawCode: code)
    }
    if context.map({ $0.pointee.isAtEnd || $0.pointee.errorNumber != 0 }) == true { return lostError(code) }
    return RemoteError(
      .protocolError, phase: phase,
      "The SSH handshake with \(endpoint.host) port \(endpoint.port) failed: \(libraryMessage()). "
        + "Is that an SSH server?",
      rawCode: code)
  }

  /// Nothing of a credential leaves before this has returned.
  private func checkHostKey() async throws(RemoteError) {
    begin(.host_key, within: configuration.handshake)
    var length = 0
    var kind: Int32 = 0
    guard let session, let bytes = libssh2_session_hostkey(session, &length, &kind), length > 0 else {
      throw RemoteError(.protocolError, phase: .host_key, "\(endpoint.host) showed no host key.")
    }
    let blob = Array(UnsafeRawBufferPointer(start: bytes, count: length))
    known.hostKeyFingerprint = HostKey(blob: blob)?.fingerprint ?? ""
    let policy = hostKeys
    let (host, port, address, type) = (endpoint.host, endpoint.port, known.address, known.hostKeyType)
    try await outside { () throws(RemoteError) in
      try await policy.verify(host: host, address: address, port: port, keyType: type, key: blob)
    }
  }
}

/// A continuation that is resumed by whichever comes first.
final class Once<Value: Sendable>: @unchecked Sendable {
  // Sendable is true: made and then only touched on one event loop.
  var continuation: CheckedContinuation<Value?, Never>?

  func resume(_ value: Value?) {
    continuation?.resume(returning: value)
    continuation = nil
  }
}
