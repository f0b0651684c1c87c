internal import HTTPTypes
internal import Hummingbird
internal import Model

/// Headers on every answer: nothing inline, nothing framed, nothing guessed.
struct SafeHeaders: RouterMiddleware {
  typealias Context = BasicRequestContext

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
  typealias Context = BasicRequestContext

  func handle(
    _ request: Request, context: Context, next: (Request, Context) async throws -> Response
  ) async throws -> Response {
    do {
      return try await next(request, context)
    } catch let error as OperationError {
      return Answer.failure(error)
    } catch let error as HTTPError where error.status == .notFound {
      return Answer.failure(OperationError(.notFound, "there is nothing at this path; /api/v1/openapi.json lists all"))
    } catch let error as HTTPError where error.status == .contentTooLarge {
      return Answer.json(
        ["code": "usage", "message": "the body is too large", "problems": []], status: .contentTooLarge)
    } catch let error as HTTPError {
      return Answer.json(
        ["code": "usage", "message": .string(error.body ?? "\(error.status)"), "problems": []], status: error.status)
    }
  }
}

/// Lets a request through only if ``AccessPolicy`` does.
struct AccessCheck: RouterMiddleware {
  typealias Context = BasicRequestContext
  static let cookie = "syscrap_session"

  let policy: AccessPolicy
  let sessions: SessionBook

  func handle(
    _ request: Request, context: Context, next: (Request, Context) async throws -> Response
  ) async throws -> Response {
    let session = request.cookies[Self.cookie]?.value
    var isSession = false
    if let session { isSession = await sessions.isLive(session) }
    let verdict = policy.judge(
      AccessPolicy.Credentials(
        method: request.method.rawValue, path: request.uri.path, host: request.head.authority,
        origin: request.headers[.origin], authorization: request.headers[.authorization], session: session),
      isSession: isSession)
    switch verdict {
    case .allowed: return try await next(request, context)
    case .forbidden(let why): return Answer.failure(OperationError(.denied, why))
    case .unauthorized(let why):
      var response = Answer.json(
        ["code": "denied", "message": .string(why), "problems": []], status: .unauthorized)
      response.headers[.wwwAuthenticate] = "Bearer realm=\"syscrap\""
      return response
    }
  }
}
