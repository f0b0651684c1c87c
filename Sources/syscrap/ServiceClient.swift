internal import App
internal import Foundation
internal import Logging
internal import Model
internal import Transfer

/// Speaks to the running service over its HTTP API.
struct ServiceClient: Sendable {
  private let base: String
  /// Where a browser finds the page.
  var address: String { base }
  private let unixSocket: String?
  private let token: String
  private let engine: TransferEngine

  /// Largest answer that is read: 64 MiB.
  private static let replyLimit = 64 << 20

  /// - Returns: nil when no service answers at the configuration's address.
  static func connect(_ configuration: Configuration) async throws -> ServiceClient? {
    guard let token = PrivateFile.read(configuration.shownTokenPath) else { return nil }
    let engine = try TransferEngine(logger: Logger(label: "syscrap") { _ in SwiftLogNoOpLogHandler() })
    let client: ServiceClient
    switch configuration.http.listen {
    case .unix(let path):
      client = ServiceClient(base: "http://localhost", unixSocket: path, token: token, engine: engine)
    case .tcp:
      // The service writes down where it listens: with port 0 only it knows.
      guard let address = PrivateFile.read(configuration.addressPath), address.hasPrefix("http") else { return nil }
      let reachable = address.replacingOccurrences(of: "//0.0.0.0:", with: "//127.0.0.1:")
        .replacingOccurrences(of: "//[::]:", with: "//[::1]:")
      client = ServiceClient(base: reachable, unixSocket: nil, token: token, engine: engine)
    }
    var probe = HTTPRequest(url: client.base + "/healthz")
    probe.unixSocket = client.unixSocket
    probe.deadlines.connect = .seconds(3)
    probe.deadlines.total = .seconds(5)
    do {
      _ = try await engine.perform(probe)
      return client
    } catch {
      return nil
    }
  }

  /// Whether any service answers at the configured address, whoever's it is.
  static func isSomebodyAt(_ configuration: Configuration) async -> Bool {
    guard case .tcp(let host, let port) = configuration.http.listen, port != 0,
      let engine = try? TransferEngine(logger: Logger(label: "syscrap") { _ in SwiftLogNoOpLogHandler() })
    else { return false }
    var probe = HTTPRequest(url: "http://\(host.contains(":") ? "[\(host)]" : host):\(port)/healthz")
    probe.deadlines.connect = .seconds(2)
    probe.deadlines.total = .seconds(3)
    return (try? await engine.perform(probe))?.body == Array("ok\n".utf8)
  }

  func get(_ path: [String], query: [(String, String)] = []) async throws -> Value {
    try await call("GET", path, query: query, body: nil)
  }

  /// What the service says is wrong with its store, such as since when it is away; nil: nothing.
  func storeTrouble() async throws -> String? {
    var request = HTTPRequest(url: base + "/readyz")
    request.unixSocket = unixSocket
    request.replyLimit = Self.replyLimit
    request.deadlines.total = .seconds(30)
    let reply: HTTPReply
    do {
      reply = try await engine.perform(request)
    } catch {
      throw Ending(Exit.notFound, "the service did not answer: \(error.message)")
    }
    guard let found = (try? Value(json: reply.body))?["checks"]?["store"]?.text, found != "ok" else { return nil }
    return found
  }

  func post(_ path: [String], query: [(String, String)] = [], body: Value = [:]) async throws -> Value {
    try await call("POST", path, query: query, body: body)
  }

  func delete(_ path: [String], query: [(String, String)] = []) async throws -> Value {
    try await call("DELETE", path, query: query, body: nil)
  }

  private func call(_ method: String, _ path: [String], query: [(String, String)], body: Value?) async throws -> Value {
    var url = base + "/api/v1/" + path.map(Self.encoded).joined(separator: "/")
    if !query.isEmpty {
      url += "?" + query.map { "\(Self.encoded($0.0))=\(Self.encoded($0.1))" }.joined(separator: "&")
    }
    var request = HTTPRequest(
      method: method, url: url,
      headers: [.init("Authorization", "Bearer \(token)"), .init("Content-Type", "application/json")],
      body: body.map { Array($0.json().utf8) })
    request.unixSocket = unixSocket
    request.replyLimit = Self.replyLimit
    // A command on a target may take as long as its own deadline.
    request.deadlines.total = .seconds(120)
    let reply: HTTPReply
    do {
      reply = try await engine.perform(request)
    } catch {
      throw Ending(Exit.notFound, "the service did not answer: \(error.message)")
    }
    let value = (try? Value(json: reply.body)) ?? .null
    if reply.isSuccess { return value }
    throw Ending(Self.failure(status: reply.status, value))
  }

  /// Turns the API's error shape back into the error it was made from.
  private static func failure(status: Int, _ value: Value) -> OperationError {
    let code = value["code"]?.text.flatMap(OperationError.Code.init(rawValue:))
    let problems = (value["problems"]?.elements ?? []).map { problem in
      Problem(
        problem["level"]?.text.flatMap(Problem.Level.init(rawValue:)) ?? .refused, kind: problem["kind"]?.text ?? "",
        id: problem["id"]?.text ?? "", path: problem["path"]?.text ?? "", reason: problem["reason"]?.text ?? "",
        hint: problem["hint"]?.text)
    }
    if status == 401 || status == 403 { return OperationError(.denied, value["message"]?.text ?? "not allowed") }
    return OperationError(
      code ?? .failed, value["message"]?.text ?? "the service answered with status \(status)", problems: problems)
  }

  private static let unreserved = CharacterSet(
    charactersIn: "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")

  private static func encoded(_ text: String) -> String {
    // A lone dot or two would be taken for a step in the path.
    if text == "." || text == ".." { return text.replacingOccurrences(of: ".", with: "%2E") }
    return text.addingPercentEncoding(withAllowedCharacters: unreserved) ?? text
  }
}
