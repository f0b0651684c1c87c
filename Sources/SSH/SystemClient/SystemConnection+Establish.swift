internal import CSSH2
internal import Glibc
internal import Remote

extension SystemConnection {
  /// Starts a master, checks the host key, logs in. Ends the connection and throws when anything fails; by then no
  /// process is left.
  func establish() async throws(RemoteError) {
    guard state == .new else { throw goneError }
    state = .establishing
    let started = EventLoop.now()
    metrics.attemptBegan()
    do throws(RemoteError) {
      try await logIn()
      // Both may have happened since it said that it is ready.
      try checkAlive()
      guard master != nil else { throw log.failure(.connection, endpoint: endpoint, status: 255) }
    } catch {
      // A deadline or a cancellation has ended the connection with its own words.
      let reason = state == .ended ? (endReason ?? cancelled) : error
      end(reason)
      await gone()
      metrics.attempt(result: reason.code.rawValue, phase: reason.phase.rawValue)
      throw reason
    }
    loop.cancel(phaseTimer)
    state = .open
    metrics.attempt(result: "ok", phase: "connection")
    metrics.handshake(nanoseconds: EventLoop.now() &- started)
    metrics.connectionOpened()
  }

  /// Ends an attempt whose caller no longer wants it; an open connection stays.
  func cancelEstablishing() {
    if state != .open { end(cancelled) }
  }

  var cancelled: RemoteError {
    RemoteError(.closed, phase: phase, "Connecting to \(endpoint.host) was cancelled.")
  }

  private func checkAlive() throws(RemoteError) {
    if state == .ended { throw endReason ?? cancelled }
  }

  /// Two attempts at most: a key that the policy lets pass (the pinned one, a first one that was stored) is known to
  /// the client only in the second.
  private func logIn() async throws(RemoteError) {
    guard let program = client.program else {
      throw RemoteError(.unreachable, phase: .connect, "There is no ssh program on this machine (openssh-client).")
    }
    guard MasterCall.checked(endpoint.host), (1...65_535).contains(endpoint.port), !endpoint.user.hasPrefix("-") else {
      throw RemoteError(.unreachable, phase: .resolve, "\(endpoint.host):\(endpoint.port) is no address.")
    }
    let offer = try offer()
    let (host, port, policy) = (endpoint.host, endpoint.port, hostKeys)
    var accepted: HostKey?
    while true {
      begin(.connect, within: configuration.connect)
      let lines = try await policy.clientLines(host: host, port: port, accepted: accepted)
      let keyTypes = lines.isEmpty ? try await policy.preferredKeyTypes(host: host, port: port) : []
      try checkAlive()
      let places = client.places
      let folder = try await blocking(on: policy.pool) { () throws(RemoteError) in
        try ControlFolder(in: places, lines: lines)
      }
      self.folder = folder
      do throws(RemoteError) { try checkAlive() } catch {
        removeFolder()
        throw error
      }
      let nonce = Self.nonce()
      let call = MasterCall(
        client: client, program: program, endpoint: endpoint, keys: offer.keys, agent: offer.agent,
        certificate: offer.certificate, file: configurationFile, folder: folder, nonce: nonce,
        connect: seconds(configuration.connect), alive: seconds(configuration.keepAlive), keyTypes: keyTypes)
      switch try await login(call, nonce: nonce) {
      case .ready: return
      case .failed(let error): throw error
      case .refusedHostKey(let key):
        begin(.host_key, within: configuration.handshake)
        let (address, type) = (log.facts.address, log.facts.hostKeyType)
        try await policy.verify(host: host, address: address, port: port, keyType: type, key: key.blob)
        try checkAlive()
        guard accepted == nil else {
          throw RemoteError(
            .hostKeyUnknown, phase: .host_key,
            "The system's ssh does not take \(key.type) \(key.fingerprint) for the key of \(host), although it is trusted."
          )
        }
        accepted = key
      }
    }
  }

  /// Starts the master and returns once it is logged in or has ended.
  private func login(_ call: MasterCall, nonce: String) async throws(RemoteError) -> Login {
    log = MasterLog(nonce: nonce)
    shownKey = nil
    master = try ChildProcess(
      call.arguments, environment: call.environment, on: loop,
      onErrors: { [self] bytes in
        // Copied, because a buffer of the loop must not cross into the actor.
        let copy = Array(bytes)
        assumeIsolated { $0.masterSays(copy) }
      },
      onEnd: { [self] status in assumeIsolated { $0.masterEnded(status) } })
    return await withCheckedContinuation { loginWaiter = $0 }
  }

  private func masterSays(_ bytes: [UInt8]) {
    for event in bytes.withUnsafeBytes({ log.add($0) }) {
      switch event {
      case .phase(let next):
        guard state == .establishing, loginWaiter != nil else { continue }
        if next == .connect { connectStarted = EventLoop.now() }
        if next == .banner { latency = Double(EventLoop.now() &- connectStarted) / 1e6 }
        switch next {
        case .connect: phase = .connect
        case .banner: begin(.banner, within: configuration.handshake)
        case .authenticate: begin(.authenticate, within: configuration.authenticate)
        default:
          // Banner and key exchange share their time; a proxy's banner may be the first that is heard of it.
          if phase == .connect { begin(next, within: configuration.handshake) } else { phase = next }
        }
      case .hostKey(let key): shownKey = key
      case .ready:
        // A jump host's own client says so, too, and has no such socket.
        guard let folder, access(folder.socket, F_OK) == 0, let waiter = loginWaiter else { continue }
        loginWaiter = nil
        waiter.resume(returning: .ready)
      }
    }
  }

  /// Starts a phase: its deadline ends the connection with an error that names it.
  private func begin(_ phase: RemoteError.Phase, within deadline: Duration) {
    self.phase = phase
    loop.cancel(phaseTimer)
    phaseTimer = loop.schedule(after: deadline) {
      self.assumeIsolated { connection in
        let host = "\(connection.endpoint.host):\(connection.endpoint.port)"
        let what =
          switch connection.phase {
          case .connect: "No connection to \(host) within \(deadline): the host or the path to it is dead."
          case .banner: "\(host) accepted the connection but sent no SSH banner within \(deadline)."
          case .key_exchange: "\(host) did not finish the key exchange within \(deadline)."
          case .host_key: "Checking the host key of \(host) took longer than \(deadline)."
          default: "Logging in to \(host) as \(connection.endpoint.user) took longer than \(deadline)."
          }
        connection.end(RemoteError(.timedOut, phase: connection.phase, what))
      }
    }
  }

  /// What can be offered to the server, as the client takes it.
  private func offer() throws(RemoteError) -> (keys: [String], agent: String?, certificate: String?) {
    var keys: [String] = []
    var agent: String?
    var missing: [String] = []
    for credential in credentials.prefix(max(1, configuration.authenticationAttempts)) {
      switch credential {
      case .keyFile(let path, passphraseCommand: nil):
        guard let quoted = MasterCall.quoted(path) else {
          missing.append("The path \(path) cannot be given to ssh: it holds one of \" \\ ${ or is not absolute.")
          continue
        }
        keys.append(quoted)
      case .keyFile(let path, _): missing.append("ssh cannot be given the passphrase of \(path): use an agent.")
      case .agent(fingerprint: nil, let socket):
        agent = socket ?? SystemClient.variable("SSH_AUTH_SOCK")
        if agent == nil { missing.append("No ssh-agent: SSH_AUTH_SOCK is not set.") }
      case .agent: missing.append("ssh cannot be given one key of an agent by its fingerprint.")
      case .password: missing.append("ssh cannot be given a password: use a key, or transport: libssh2.")
      }
    }
    var certificate: String?
    if let certificateFile {
      certificate = MasterCall.quoted(certificateFile)
      if certificate == nil { missing.append("The path \(certificateFile) cannot be given to ssh.") }
    }
    let isKnown = configurationFile != nil || hostKeys.isLook
    guard !keys.isEmpty || agent != nil || isKnown, certificate != nil || certificateFile == nil else {
      throw RemoteError(
        .noCredential, phase: .authenticate,
        missing.isEmpty
          ? "No credential is configured for \(endpoint.user) on \(endpoint.host)." : missing.joined(separator: " "))
    }
    return (keys, agent, certificate)
  }

  private func seconds(_ duration: Duration) -> Int {
    max(1, Int(clamping: duration.components.seconds) + (duration.components.attoseconds > 0 ? 1 : 0))
  }

  private static func nonce() -> String {
    var generator = SystemRandomNumberGenerator()
    return "key-" + String(generator.next(), radix: 16) + String(generator.next(), radix: 16)
  }
}
