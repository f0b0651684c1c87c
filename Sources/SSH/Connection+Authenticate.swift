internal import CSSH2
internal import Glibc
internal import Logging
internal import Remote

extension Connection {
  /// What trying one credential came to.
  private enum Outcome {
    case accepted
    /// The server said no.
    case refused
    /// There was nothing to offer: why.
    case unavailable(RemoteError)
  }

  /// Tries the credentials in order until one is accepted. Called only after the host key was trusted.
  ///
  /// - Throws: `.authenticationFailed` when the server refused what was offered, `.noCredential` when there was nothing
  ///   to offer.
  func authenticate() async throws(RemoteError) {
    begin(.authenticate, within: configuration.authenticate)
    var tried: [String] = []
    var missing: [RemoteError] = []
    var budget = max(1, configuration.authenticationAttempts)
    for credential in credentials where budget > 0 {
      let outcome: Outcome
      switch credential {
      case .keyFile(let path, let command):
        outcome = try await tryKeyFile(path, command, &budget)
        if case .refused = outcome { tried.append("key \(path)") }
      case .agent(let fingerprint, let socket):
        outcome = try await tryAgent(fingerprint, socket, &budget)
        if case .refused = outcome { tried.append("ssh-agent") }
      case .password(let ask):
        outcome = try await tryPassword(ask, &budget)
        if case .refused = outcome { tried.append("password") }
      }
      switch outcome {
      case .accepted: return
      case .refused: continue
      case .unavailable(let error): missing.append(error)
      }
    }
    let user = endpoint.user
    if tried.isEmpty {
      throw RemoteError(
        .noCredential, phase: .authenticate,
        missing.isEmpty
          ? "No credential is configured for \(user) on \(endpoint.host)."
          : missing.map(\.message).joined(separator: " "))
    }
    throw RemoteError(
      .authenticationFailed, phase: .authenticate,
      "\(endpoint.host) refused \(user) with \(tried.joined(separator: ", "))."
        + missing.map { " " + $0.message }.joined() + " " + Self.advice(tried, user: user),
      rawCode: LIBSSH2_ERROR_AUTHENTICATION_FAILED)
  }

  /// What a person can do about credentials that were refused.
  private static func advice(_ tried: [String], user: String) -> String {
    tried == ["password"]
      ? "Check the password, and whether \(user) may log in by password there."
      : "Put the key's public half into ~/.ssh/authorized_keys of \(user) there, or name another key or user."
  }

  // MARK: keys

  private func tryKeyFile(
    _ path: String, _ command: [String]?, _ budget: inout Int
  ) async throws(RemoteError) -> Outcome {
    let keys = group.keys
    switch try await blocking({ keys.load(path, passphraseCommand: command) }) {
    case .failure(let error): return .unavailable(error)
    case .success(.signing(let key)):
      budget -= 1
      known.authentication = "publickey (\(HostKey(blob: key.publicBlob)?.fingerprint ?? "?"))"
      return try await offer(key.publicBlob) { data in try? key.sign(data) }
    case .success(.file(let bytes, let passphrase)):
      budget -= 1
      known.authentication = "publickey"
      let user = endpoint.user
      let secret = passphrase.map { $0 + [0] }
      // libssh2 1.10 takes the key's length and yet looks for a NUL behind it.
      let terminated = bytes + [0]
      let code = try await drive { session in
        terminated.withUnsafeBytes { (key: UnsafeRawBufferPointer) -> Int32 in
          let base = key.baseAddress?.assumingMemoryBound(to: CChar.self)
          guard let secret else {
            return libssh2_userauth_publickey_frommemory(
              session, user, user.utf8.count, nil, 0, base, key.count - 1, nil)
          }
          return secret.withUnsafeBytes {
            libssh2_userauth_publickey_frommemory(
              session, user, user.utf8.count, nil, 0, base, key.count - 1,
              $0.baseAddress?.assumingMemoryBound(to: CChar.self))
          }
        }
      }
      // Anything but an answer of the server means that the key could not be opened.
      let isAnswer = [0, LIBSSH2_ERROR_AUTHENTICATION_FAILED, LIBSSH2_ERROR_PUBLICKEY_UNVERIFIED].contains(code)
      if !isAnswer, let context, !context.pointee.isAtEnd, context.pointee.errorNumber == 0 {
        budget += 1
        return .unavailable(
          KeyStore.failure(
            "The private key \(path) cannot be used: the passphrase is wrong or missing, or its kind is not supported.")
        )
      }
      return try judge(code)
    }
  }

  private func tryAgent(
    _ fingerprint: String?, _ socket: String?, _ budget: inout Int
  ) async throws(RemoteError) -> Outcome {
    guard let path = socket ?? getenv("SSH_AUTH_SOCK").map({ String(cString: $0) }), !path.isEmpty else {
      return .unavailable(KeyStore.failure("No ssh-agent: SSH_AUTH_SOCK is not set."))
    }
    let agent = KeyAgent(path: path, timeout_s: max(1, Int(configuration.authenticate.components.seconds)))
    let listed: Result<[KeyAgent.Identity], RemoteError> = try await blocking {
      do throws(RemoteError) { return .success(try agent.identities()) } catch { return .failure(error) }
    }
    let identities: [KeyAgent.Identity]
    switch listed {
    case .failure(let error): return .unavailable(error)
    case .success(let all):
      identities =
        fingerprint.map { wanted in all.filter { HostKey(blob: $0.blob)?.fingerprint == wanted } }
        ?? Array(all.prefix(3))
    }
    if identities.isEmpty {
      let what = fingerprint.map { "no key \($0)" } ?? "no Ed25519 or ECDSA key"
      return .unavailable(KeyStore.failure("The ssh-agent at \(path) has \(what)."))
    }
    var outcome = Outcome.refused
    for identity in identities where budget > 0 {
      budget -= 1
      known.authentication = "agent (\(HostKey(blob: identity.blob)?.fingerprint ?? "?"))"
      outcome = try await offer(identity.blob, elsewhere: { data in try? agent.sign(data, with: identity.blob) })
      if case .accepted = outcome { return outcome }
    }
    return outcome
  }

  /// Offers a public key and signs when the server would take it.
  ///
  /// `elsewhere` signs on a thread that may wait; without it `sign` does so at once.
  private func offer(
    _ blob: [UInt8], elsewhere: (@Sendable ([UInt8]) -> [UInt8]?)? = nil,
    _ sign: @escaping @Sendable ([UInt8]) -> [UInt8]? = { _ in nil }
  ) async throws(RemoteError) -> Outcome {
    let signer = Signer(sign: elsewhere == nil ? sign : nil)
    let reference = UnsafeMutablePointer<UnsafeMutableRawPointer?>.allocate(capacity: 1)
    reference.initialize(to: Unmanaged.passUnretained(signer).toOpaque())
    // The library keeps the pointer only during a call, and no call is made once this function has returned.
    defer {
      reference.deallocate()
      withExtendedLifetime(signer) {}
    }
    let user = endpoint.user
    while true {
      let code = try await drive(pause: { signer.isWaiting }) { session in
        blob.withUnsafeBufferPointer {
          libssh2_userauth_publickey(session, user, $0.baseAddress, $0.count, signWithSigner, reference)
        }
      }
      guard code == LIBSSH2_ERROR_EAGAIN, let elsewhere, let data = signer.takeRequest() else { return try judge(code) }
      let signature = try await blocking { elsewhere(data) }
      signer.answer(signature)
    }
  }

  /// Sorts what the library says of an attempt: refused, or the connection is over.
  private func judge(_ code: Int32) throws(RemoteError) -> Outcome {
    switch code {
    case 0: return .accepted
    case LIBSSH2_ERROR_AUTHENTICATION_FAILED, LIBSSH2_ERROR_PUBLICKEY_UNVERIFIED, LIBSSH2_ERROR_PASSWORD_EXPIRED,
      LIBSSH2_ERROR_METHOD_NOT_SUPPORTED, LIBSSH2_ERROR_FILE, LIBSSH2_ERROR_PUBLICKEY_PROTOCOL:
      return .refused
    default:
      if context.map({ $0.pointee.isAtEnd || $0.pointee.errorNumber != 0 }) == true { throw lostError(code) }
      throw RemoteError(
        .protocolError, phase: .authenticate,
        "Logging in to \(endpoint.host) failed: \(libraryMessage()).", rawCode: code)
    }
  }

  // MARK: passwords

  private func tryPassword(
    _ ask: @escaping @Sendable () async throws -> [UInt8], _ budget: inout Int
  ) async throws(RemoteError) -> Outcome {
    let user = endpoint.user
    let methods = try await offeredMethods()
    if methods.isEmpty, let session, libssh2_userauth_authenticated(session) == 1 {
      known.authentication = "none"
      return .accepted
    }
    let isPlain = methods.contains("password")
    let isInteractive = methods.contains("keyboard-interactive")
    guard isPlain || isInteractive else {
      return .unavailable(
        KeyStore.failure("\(endpoint.host) takes no password; it offers \(methods.joined(separator: ", "))."))
    }
    // An error's text may hold what must not be shown, so it is not passed on.
    let answer = try await outside { () throws(RemoteError) -> [UInt8]? in try? await ask() }
    guard let password = answer else { return .unavailable(KeyStore.failure("The password could not be had.")) }
    var outcome = Outcome.refused
    if isPlain, budget > 0 {
      budget -= 1
      known.authentication = "password"
      let code = try await drive { session in
        password.withUnsafeBytes {
          libssh2_userauth_password_ex(
            session, user, UInt32(clamping: user.utf8.count), $0.baseAddress?.assumingMemoryBound(to: CChar.self),
            UInt32(clamping: $0.count), nil)
        }
      }
      outcome = try judge(code)
      if case .accepted = outcome { return outcome }
    }
    // Where the server takes passwords both ways it checks them the same way: a second no would only count against us.
    if isInteractive, !isPlain, budget > 0 {
      budget -= 1
      known.authentication = "keyboard-interactive"
      let code = try await drive { session in
        password.withUnsafeBufferPointer { bytes in
          context?.pointee.password = bytes
          defer { context?.pointee.password = nil }
          return libssh2_userauth_keyboard_interactive_ex(
            session, user, UInt32(clamping: user.utf8.count), answerPrompts)
        }
      }
      outcome = try judge(code)
    }
    return outcome
  }

  /// The methods that the server offers to this user; asking is an attempt without a credential.
  private func offeredMethods() async throws(RemoteError) -> [String] {
    let user = endpoint.user
    var names: [String] = []
    let code = try await drive { session in
      if let list = libssh2_userauth_list(session, user, UInt32(clamping: user.utf8.count)) {
        names = String(cString: list).split(separator: ",").map(String.init)
        return 0
      }
      if libssh2_userauth_authenticated(session) == 1 { return 0 }
      return libssh2_session_last_errno(session)
    }
    if code != 0 { _ = try judge(code) }
    return names
  }
}

/// Makes one signature, at once or in two steps: the library is told "would block" until the answer is there.
private final class Signer {
  private let sign: (@Sendable ([UInt8]) -> [UInt8]?)?
  private var request: [UInt8]?
  private var reply: [UInt8]?
  private var hasReply = false

  init(sign: (@Sendable ([UInt8]) -> [UInt8]?)?) { self.sign = sign }

  /// The library waits for a signature that is made elsewhere.
  var isWaiting: Bool { request != nil && !hasReply }

  func takeRequest() -> [UInt8]? { hasReply ? nil : request }

  func answer(_ signature: [UInt8]?) {
    reply = signature
    hasReply = true
  }

  /// The signature, or EAGAIN, or another code for "cannot".
  func signature(for data: [UInt8]) -> (code: Int32, bytes: [UInt8]) {
    if let sign {
      guard let bytes = sign(data) else { return (LIBSSH2_ERROR_PUBLICKEY_UNVERIFIED, []) }
      return (0, bytes)
    }
    guard hasReply else {
      request = data
      return (LIBSSH2_ERROR_EAGAIN, [])
    }
    guard let reply else { return (LIBSSH2_ERROR_PUBLICKEY_UNVERIFIED, []) }
    return (0, reply)
  }
}

/// libssh2's call for a signature; `abstract` leads to the ``Signer``. The library frees what is put into `signature`.
private func signWithSigner(
  _ session: OpaquePointer?, _ signature: UnsafeMutablePointer<UnsafeMutablePointer<UInt8>?>?,
  _ length: UnsafeMutablePointer<Int>?, _ data: UnsafePointer<UInt8>?, _ count: Int,
  _ abstract: UnsafeMutablePointer<UnsafeMutableRawPointer?>?
) -> Int32 {
  guard let reference = abstract?.pointee, let data, let signature, let length else { return -1 }
  let signer = Unmanaged<Signer>.fromOpaque(reference).takeUnretainedValue()
  let (code, bytes) = signer.signature(for: Array(UnsafeBufferPointer(start: data, count: count)))
  guard code == 0 else { return code }
  guard let copy = malloc(max(1, bytes.count)) else { return -1 }
  bytes.withUnsafeBytes { if let base = $0.baseAddress { memcpy(copy, base, $0.count) } }
  signature.pointee = copy.assumingMemoryBound(to: UInt8.self)
  length.pointee = bytes.count
  return 0
}

/// libssh2's call for answers to a server's prompts: the password where the answer is not shown, nothing elsewhere.
/// After eight prompts in a connection nothing is answered any more.
private func answerPrompts(
  _ name: UnsafePointer<CChar>?, _ nameLength: Int32, _ instruction: UnsafePointer<CChar>?, _ instructionLength: Int32,
  _ count: Int32, _ prompts: UnsafePointer<LIBSSH2_USERAUTH_KBDINT_PROMPT>?,
  _ responses: UnsafeMutablePointer<LIBSSH2_USERAUTH_KBDINT_RESPONSE>?,
  _ abstract: UnsafeMutablePointer<UnsafeMutableRawPointer?>?
) {
  guard let context = SocketContext.of(abstract), let prompts, let responses, count > 0 else { return }
  for index in 0..<Int(count) {
    context.pointee.promptCount += 1
    var bytes = UnsafeBufferPointer<UInt8>(start: nil, count: 0)
    if prompts[index].echo == 0, context.pointee.promptCount <= 8, let password = context.pointee.password {
      bytes = password
    }
    guard let copy = malloc(bytes.count + 1) else { continue }
    if let base = bytes.baseAddress { memcpy(copy, base, bytes.count) }
    responses[index].text = copy.assumingMemoryBound(to: CChar.self)
    responses[index].length = UInt32(clamping: bytes.count)
  }
}
