internal import FoundationEssentials
internal import HTTPTypes
internal import Hummingbird
internal import Model
internal import NIOCore

/// Every path the Gateway answers, and what it asks of ``Operations``. doc/protocols.md and /api/v1/openapi.json describe them.
struct Routes: Sendable {
  let configuration: GatewayConfiguration
  let operations: any Operations
  let sessions: SessionBook
  let clock: any Clock<Duration>

  func router() -> Router<GatewayContext> {
    let router = Router(context: GatewayContext.self)
    router.addMiddleware {
      SafeHeaders()
      FailureAnswers()
      AccessCheck(policy: AccessPolicy(configuration), sessions: sessions)
    }
    addHealth(to: router)
    addPage(to: router)
    let api = router.group("/api/v1")
    addObjects(to: api)
    addViews(to: api)
    addActions(to: api)
    return router
  }

  /// Each route's method and path, the parts that vary in braces.
  var list: [(method: String, path: String)] {
    router().routes.map { ($0.method.rawValue, $0.path.description) }
  }

  // MARK: Health

  private func addHealth(to router: Router<GatewayContext>) {
    let operations = operations
    router.get("/healthz") { _, _ -> Response in
      let isAlive = await operations.isAlive()
      return Answer.text(isAlive ? "ok\n" : "not alive\n", status: isAlive ? .ok : .serviceUnavailable)
    }
    router.get("/readyz") { _, _ -> Response in
      let (isReady, report) = await operations.readiness()
      return Answer.json(report, status: isReady ? .ok : .serviceUnavailable)
    }
    router.get("/metrics") { _, _ -> Response in
      Answer.text(await operations.metricsText(), type: "text/plain; version=0.0.4; charset=utf-8")
    }
  }

  // MARK: The page

  private func addPage(to router: Router<GatewayContext>) {
    let sessions = sessions
    let life = configuration.sessionLife.components.seconds
    router.get("/login") { request, context -> Response in
      let token = request.uri.queryParameters["token"].map(String.init) ?? ""
      let session: String
      switch await sessions.open(with: token, from: context.client) {
      case .opened(let opened): session = opened
      case .tooMany(let wait): return Answer.tooMany(wait: wait)
      case .refused:
        return Answer.text(
          "This link was used or is too old. 'syscrap quick' and 'syscrap login' print a new one.\n",
          status: .unauthorized)
      }
      var response = Response(status: .seeOther, headers: [.location: "/", .cacheControl: "no-store"])
      response.headers[.setCookie] =
        "\(AccessCheck.cookie(request))=\(session); Path=/; HttpOnly; SameSite=Strict; Max-Age=\(life)"
      return response
    }
    for asset in Page.assets {
      router.get(RouterPath(asset.path)) { _, _ -> Response in Answer.text(asset.content, type: asset.type) }
    }
  }

  // MARK: Objects

  private func addObjects(to api: RouterGroup<GatewayContext>) {
    let operations = operations
    let bodyLimit = configuration.bodyLimit
    api.get("openapi.json") { _, _ -> Response in Answer.text(OpenAPI.document, type: "application/json") }
    api.get("objects/:kind") { request, context -> Response in
      let kind = try Answer.parameter("kind", context)
      let labels = try Answer.labels(request)
      return Answer.json(
        .array(
          try await operations.get(
            kind: kind, name: nil, labels: labels,
            limit: try Answer.number("limit", request, default: 1000, max: 100_000))))
    }
    api.get("objects/:kind/:name") { request, context -> Response in
      let found = try await operations.get(
        kind: Answer.parameter("kind", context), name: Answer.parameter("name", context), labels: [:],
        limit: try Answer.number("limit", request, default: 1000, max: 100_000))
      return Answer.json(.array(found))
    }
    api.post("apply") { request, _ -> Response in
      let body = try await Answer.body(request, limit: bodyLimit)
      guard case .array(let documents) = body else {
        throw OperationError(.usage, "the body must be a JSON array of documents")
      }
      let report = try await operations.apply(documents, dryRun: Answer.flag("dry_run", request))
      return Answer.json(Answer.value(report))
    }
    api.delete("objects/:kind/:name") { request, context -> Response in
      try await operations.delete(
        kind: Answer.parameter("kind", context), name: Answer.parameter("name", context),
        dryRun: Answer.flag("dry_run", request))
      return Answer.json(["outcome": "deleted"])
    }
  }

  // MARK: Views

  private func addViews(to api: RouterGroup<GatewayContext>) {
    let operations = operations
    api.get("describe/:kind/:name") { _, context -> Response in
      Answer.json(
        try await operations.describe(
          kind: Answer.parameter("kind", context), name: Answer.parameter("name", context)))
    }
    api.get("touch/:target") { _, context -> Response in
      Answer.json(try await operations.touch(target: Answer.parameter("target", context)))
    }
    api.get("tree") { _, _ -> Response in Answer.json(await operations.tree()) }
    api.get("fleet") { _, _ -> Response in Answer.json(try await operations.fleet()) }
    api.get("history/:target/:metric") { request, context -> Response in
      var wanted = HistoryRequest(
        target: try Answer.parameter("target", context), metric: try Answer.parameter("metric", context),
        name: Answer.text("name", request), type: Answer.text("type", request),
        limit: try Answer.number("limit", request, default: 1000, max: 100_000))
      if let since = try Answer.moment("since", request) { wanted.since = since }
      wanted.until = try Answer.moment("until", request)
      let format = try Answer.choice("format", request, of: ["json", "csv"])
      let samples = try await operations.history(wanted)
      if format == "csv" {
        return Answer.text(HistoryCSV.text(samples), type: "text/csv; charset=utf-8; header=present")
      }
      return Answer.json(.array(samples))
    }
    let clock = clock
    api.get("updates") { _, context -> Response in
      let updates = await operations.updates()
      let gone = context.channel.closeFuture
      return Response(
        status: .ok, headers: [.contentType: EventStream.type, .cacheControl: "no-store"],
        body: ResponseBody { writer in
          try await EventStream(updates, clock: clock).write { end in
            gone.whenComplete { _ in end() }
          } _: {
            try await writer.write(ByteBuffer(string: $0))
          }
          try await writer.finish(nil)
        })
    }
  }

  // MARK: Actions

  private func addActions(to api: RouterGroup<GatewayContext>) {
    let operations = operations
    let sessions = sessions
    let bodyLimit = configuration.bodyLimit
    api.post("exec") { request, _ -> Response in
      let body = try await Answer.body(request, limit: bodyLimit)
      guard let target = body["target"]?.text, let list = body["arguments"]?.elements, !list.isEmpty else {
        throw OperationError(.usage, "the body must be {\"target\": NAME, \"arguments\": [COMMAND, …]}")
      }
      let arguments = list.compactMap(\.text)
      guard arguments.count == list.count else { throw OperationError(.usage, "every argument must be text") }
      let report = try await operations.exec(target: target, arguments: arguments)
      return Answer.json([
        "status": .int(Int64(report.status)), "signal": report.signal.map(Value.string) ?? nil,
        "output": .string(Data(report.output).base64EncodedString()),
        "errors": .string(Data(report.errors).base64EncodedString()), "is_truncated": .bool(report.isTruncated),
      ])
    }
    api.post("privileges/:target") { _, context -> Response in
      Answer.json(try await operations.privileges(target: Answer.parameter("target", context)))
    }
    api.post("notify/test") { request, _ -> Response in
      let body = try await Answer.body(request, limit: bodyLimit)
      guard let option = body["option"]?.text else {
        throw OperationError(.usage, "the body must be {\"option\": NAME}")
      }
      return Answer.json(try await operations.notifyTest(option: option))
    }
    api.post("queue/:id/retry") { _, context -> Response in
      try await operations.queueRetry(id: Answer.parameter("id", context))
      return Answer.json(["outcome": "due now"])
    }
    api.post("queue/:id/drop") { request, context -> Response in
      let body = try await Answer.body(request, limit: bodyLimit)
      let reason = body["reason"]?.text ?? "dropped by hand"
      try await operations.queueDrop(id: Answer.parameter("id", context), reason: reason)
      return Answer.json(["outcome": "dropped"])
    }
    api.post("reload") { _, _ -> Response in Answer.json(try await operations.reload()) }
    api.post("login-token") { _, _ -> Response in Answer.json(["token": .string(await sessions.makeToken())]) }
  }
}
