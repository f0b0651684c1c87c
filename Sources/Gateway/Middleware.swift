internal import HTTPTypes
internal import Hummingbird
internal import Logging
internal import Model
internal import NIOCore
internal import NIOHTTP1

/// Headers on every answer: nothing inline, nothing framed, nothing guessed.
struct SafeHeaders: RouterMiddleware {
  typealias Context = GatewayContext

  private static let headers: [(String, String)] = [
    (
      "Content-Security-Policy",
      "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        + "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    ),
    ("X-Content-Type-Options", "nosniff"), ("Referrer-Policy", "no-referrer"), ("X-Frame-Options", "DENY"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
  ]

  func handle(
    _ request: Request, context: Context, next: (Request, Context) async throws -> Response
  ) async throws -> Response {
    var response = try await next(request, context)
    for (name, value) in Self.headers {
      if let field = HTTPField.Name(name) { response.headers[field] = value }
    }
    return response
  }
}

/// Turns every error into the one shape `{code, message, problems}`.
struct FailureAnswers: RouterMiddleware {
  typealias Context = GatewayContext

  func handle(
    _ request: Request, context: Context, next: (Request, Context) async throws -> Response
  ) async throws -> Response {
    do {
      return try await next(request, context)
    } catch let error as OperationError {
      return Answer.failure(error)
    } catch let error as HTTPError where error.status == .notFound {
      return Answer.failure(
        OperationError(.notFound, "nothing answers this method at this path; /api/v1/openapi.json lists all"))
    } catch let error as HTTPError where error.status == .contentTooLarge {
      return Answer.failure(.contentTooLarge, .usage, "the body is too large")
    } catch is NIOTooManyBytesError {
      return Answer.failure(.contentTooLarge, .usage, "the body is too large")
    } catch let error as HTTPError {
      return Answer.failure(error.status, .usage, error.body ?? "\(error.status)")
    } catch let error as HTTPParserError {
      // The connection itself answers 400 and ends.
      throw error
    } catch {
      context.logger.error(
        "A request failed", metadata: ["http.route": "\(context.endpointPath ?? "none")", "error": "\(error)"])
      return Answer.failure(OperationError(.failed, "the service failed to answer; its log says more"))
    }
  }
}

/// Lets a request through only if ``AccessPolicy`` does.
struct AccessCheck: RouterMiddleware {
  typealias Context = GatewayContext

  let policy: AccessPolicy
  let sessions: SessionBook

  func handle(
    _ request: Request, context: Context, next: (Request, Context) async throws -> Response
  ) async throws -> Response {
    let session = request.cookies[Self.cookie(request)]?.value
    var isSession = false
    if let session { isSession = await sessions.isLive(session) }
    let verdict = policy.judge(
      AccessPolicy.Credentials(
        method: request.method.rawValue, path: request.uri.path, host: request.head.authority,
        origin: request.headers[.origin], authorization: request.headers[.authorization], session: session),
      isSession: isSession)
    if case .forbidden(let why) = verdict { return Answer.failure(OperationError(.denied, why)) }
    if !AccessPolicy.openPaths.contains(request.uri.path), let shown = request.headers[.authorization],
      let wait = await sessions.note(shown: shown, isRight: verdict == .allowed, from: context.client)
    {
      if await sessions.isWorthTelling() {
        context.logger.warning("Too many wrong tokens were shown", metadata: ["http.client": "\(context.client)"])
      }
      return Answer.tooMany(wait: wait)
    }
    guard case .unauthorized(let why) = verdict else { return try await next(request, context) }
    // A person who opens the address reads a sentence, programs read the one shape.
    let isPerson = request.uri.path == "/" && (request.headers[.accept] ?? "").contains("text/html")
    var response =
      isPerson
      ? Answer.text(PageHTML.loginNeeded, type: "text/html; charset=utf-8", status: .unauthorized)
      : Answer.failure(.unauthorized, .denied, why)
    response.headers[.wwwAuthenticate] = "Bearer realm=\"syscrap\""
    return response
  }

  /// The session cookie's name. Browsers share cookies between the ports of a host, so the port is a part of it.
  static func cookie(_ request: Request) -> String {
    let host = request.head.authority ?? ""
    let port = host.dropFirst(AccessPolicy.bareHost(host).count + 1)
    return port.isEmpty || !port.allSatisfy { $0.isASCII && $0.isNumber }
      ? "syscrap_session" : "syscrap_session_\(port)"
  }
}
