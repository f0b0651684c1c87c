internal import Model

/// The API's description in OpenAPI 3.1, made from one list, so that it cannot forget a path.
enum OpenAPI {
  private struct Path {
    var path: String
    var method: String
    var summary: String
    var query: [String] = []
    var body: String?
    var answer: String = "JSON"
  }

  private static let paths: [Path] =
    [
      Path(
        path: "/login", method: "get", summary: "Trades a one-time token for a session's cookie, then leads to /",
        query: ["token"], answer: "303 to the page"),
      Path(path: "/api/v1/openapi.json", method: "get", summary: "This description"),
      Path(path: "/healthz", method: "get", summary: "Whether the process is alive", answer: "text"),
      Path(
        path: "/readyz", method: "get",
        summary: "Store, queue and workers, each with its state, and which part this instance plays",
        answer: "{status, version, checks: {store, queue, workers}, role, holder, instance, role_detail}"),
      Path(
        path: "/metrics", method: "get", summary: "The service's own figures, Prometheus text format", answer: "text"),
      Path(
        path: "/api/v1/objects/{kind}", method: "get", summary: "Objects of a kind, as an array",
        query: ["label", "limit"]),
      Path(
        path: "/api/v1/objects/{kind}/{name}", method: "get", summary: "Objects of a kind with this name",
        query: ["limit"]),
      Path(
        path: "/api/v1/objects/{kind}/{name}", method: "delete", summary: "Deletes a document", query: ["dry_run"]),
      Path(
        path: "/api/v1/apply", method: "post", summary: "Inserts or replaces documents; all or none",
        query: ["dry_run"],
        body: "an array of documents"),
      Path(path: "/api/v1/describe/{kind}/{name}", method: "get", summary: "Everything known of one thing"),
      Path(
        path: "/api/v1/touch/{target}", method: "get",
        summary: "A target's touch budget, and what was used of it in the last hour and its worst minute"),
      Path(
        path: "/api/v1/privileges/{target}", method: "post",
        summary: "What the target's account lacks, and what it may do beyond what is used",
        answer: "{target, user, account, missing, excess, unknown}"),
      Path(path: "/api/v1/tree", method: "get", summary: "The live supervision tree"),
      Path(path: "/api/v1/fleet", method: "get", summary: "One row a target, with vitals and open episodes"),
      Path(
        path: "/api/v1/history/{target}/{metric}", method: "get",
        summary: "Samples, oldest first; without a type the finest that reaches back to since",
        query: ["type", "name", "since", "until", "limit", "format"], answer: "JSON, or CSV with format=csv"),
      Path(
        path: "/api/v1/exec", method: "post", summary: "Runs a command over the target's connection, where allowed",
        body: "{target, arguments}"),
      Path(path: "/api/v1/notify/test", method: "post", summary: "Sends a test message", body: "{option}"),
      Path(path: "/api/v1/queue/{id}/retry", method: "post", summary: "Makes a queue entry due now"),
      Path(path: "/api/v1/queue/{id}/drop", method: "post", summary: "Gives a queue entry up", body: "{reason}"),
      Path(path: "/api/v1/reload", method: "post", summary: "Reads configuration and documents again"),
      Path(path: "/api/v1/login-token", method: "post", summary: "A one-time token for /login"),
      Path(path: "/api/v1/updates", method: "get", summary: "Changes as server-sent events", answer: "event stream"),
    ] + Page.assets.map { Path(path: $0.path, method: "get", summary: "A file of the page", answer: $0.type) }

  static let document: String = {
    var described: [String: Value] = [:]
    for path in paths {
      var operation: [String: Value] = ["summary": .string(path.summary), "responses": .object(responses(path))]
      var parameters: [Value] = names(in: path.path).map {
        ["name": .string($0), "in": "path", "required": true, "schema": ["type": "string"]]
      }
      parameters += path.query.map { ["name": .string($0), "in": "query", "schema": ["type": "string"]] }
      if !parameters.isEmpty { operation["parameters"] = .array(parameters) }
      if let body = path.body {
        operation["requestBody"] = ["description": .string(body), "content": ["application/json": [:]]]
      }
      if isOpen(path.path) { operation["security"] = [] }
      var methods = described[path.path]?.fields ?? [:]
      methods[path.method] = .object(operation)
      described[path.path] = .object(methods)
    }
    let whole: Value = [
      "openapi": "3.1.0", "info": ["title": "Syscrap", "version": "1"], "paths": .object(described),
      "components": [
        "securitySchemes": [
          "token": ["type": "http", "scheme": "bearer"],
          "session": ["type": "apiKey", "in": "cookie", "name": "syscrap_session_PORT"],
        ]
      ],
      "security": [["token": []], ["session": []]],
    ]
    return whole.json(indent: 2) + "\n"
  }()

  private static func responses(_ path: Path) -> [String: Value] {
    let success = path.path == "/login" ? "303" : "200"
    var responses: [String: Value] = [success: ["description": .string(path.answer)]]
    if AccessPolicy.openPaths.contains(path.path) {
      responses["503"] = ["description": "Not well"]
    } else {
      responses["401"] = ["description": "No or a wrong token"]
      responses["429"] = ["description": "Too many wrong tokens; Retry-After says how long to wait"]
    }
    responses["403"] = ["description": "A foreign Host or Origin, or not allowed by the configuration"]
    responses["default"] = ["description": "{code, message, problems}"]
    return responses
  }

  private static func isOpen(_ path: String) -> Bool { path == "/login" || AccessPolicy.openPaths.contains(path) }

  private static func names(in path: String) -> [String] {
    path.split(separator: "/").filter { $0.hasPrefix("{") }.map { String($0.dropFirst().dropLast()) }
  }
}
