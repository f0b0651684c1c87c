internal import Foundation
internal import HTTPTypes
internal import Hummingbird
internal import Model
internal import NIOCore

/// Reading requests and writing answers: one way for every route.
enum Answer {
  static func json(_ value: Value, status: HTTPResponse.Status = .ok) -> Response {
    text(value.json() + "\n", type: "application/json", status: status)
  }

  static func text(
    _ text: String, type: String = "text/plain; charset=utf-8", status: HTTPResponse.Status = .ok
  ) -> Response {
    Response(
      status: status, headers: [.contentType: type, .cacheControl: "no-store"],
      body: ResponseBody(byteBuffer: ByteBuffer(string: text)))
  }

  static func failure(_ error: OperationError) -> Response {
    json(
      [
        "code": .string(error.code.rawValue), "message": .string(error.message),
        "problems": .array(error.problems.map(value)),
      ], status: status(error.code))
  }

  static func status(_ code: OperationError.Code) -> HTTPResponse.Status {
    switch code {
    case .failed: .internalServerError
    case .usage: .badRequest
    case .notFound: .notFound
    case .denied: .forbidden
    case .unreachable: .badGateway
    case .refused: .unprocessableContent
    }
  }

  static func value(_ problem: Problem) -> Value {
    var fields: [String: Value] = [
      "level": .string(problem.level.rawValue), "kind": .string(problem.kind), "id": .string(problem.id),
      "path": .string(problem.path), "reason": .string(problem.reason),
    ]
    if let hint = problem.hint { fields["hint"] = .string(hint) }
    if let file = problem.file { fields["file"] = .string(file) }
    if let line = problem.line { fields["line"] = .int(Int64(line)) }
    if let since = problem.since { fields["since"] = .date(since) }
    return .object(fields)
  }

  static func value(_ report: ApplyReport) -> Value {
    [
      "items": .array(
        report.items.map { ["kind": .string($0.kind), "id": .string($0.id), "outcome": .string($0.outcome)] }),
      "problems": .array(report.problems.map(value)),
    ]
  }

  /// A part of the path, percent-decoding undone.
  static func parameter(_ name: String, _ context: BasicRequestContext) throws -> String {
    guard let raw = context.parameters.get(name) else { throw OperationError(.usage, "the path lacks \(name)") }
    return String(raw).removingPercentEncoding ?? String(raw)
  }

  static func flag(_ name: String, _ request: Request) -> Bool {
    ["1", "true", "yes"].contains(request.uri.queryParameters[Substring(name)].map(String.init) ?? "")
  }

  static func number(_ name: String, _ request: Request, default fallback: Int, max: Int) throws -> Int {
    guard let raw = request.uri.queryParameters[Substring(name)] else { return fallback }
    guard let number = Int(raw), number >= 0, number <= max else {
      throw OperationError(.usage, "\(name) must be a whole number from 0 to \(max)")
    }
    return number
  }

  /// Every `label=name=value` of the query.
  static func labels(_ request: Request) throws -> [String: String] {
    var labels: [String: String] = [:]
    for (name, value) in request.uri.queryParameters where name == "label" {
      guard let equals = value.firstIndex(of: "="), equals != value.startIndex else {
        throw OperationError(.usage, "a label is given as name=value")
      }
      labels[String(value[..<equals])] = String(value[value.index(after: equals)...])
    }
    return labels
  }

  static func body(_ request: Request, limit: Int) async throws -> Value {
    let buffer = try await request.body.collect(upTo: limit)
    if buffer.readableBytes == 0 { return .object([:]) }
    do {
      return try Value(json: buffer.readableBytesView)
    } catch {
      throw OperationError(.usage, "the body is not JSON")
    }
  }
}
