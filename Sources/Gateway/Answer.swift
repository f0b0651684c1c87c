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
    let buffer = ByteBuffer(string: text)
    return Response(
      status: status, headers: [.contentType: type, .cacheControl: "no-store"],
      body: buffer.readableBytes > pieceSize ? inPieces(buffer) : ResponseBody(byteBuffer: buffer))
  }

  /// Large answers leave piece by piece: a connection's progress can be seen only between pieces.
  private static let pieceSize = 64 << 10

  private static func inPieces(_ whole: ByteBuffer) -> ResponseBody {
    ResponseBody(contentLength: whole.readableBytes) { writer in
      var rest = whole
      while let piece = rest.readSlice(length: min(pieceSize, rest.readableBytes)), piece.readableBytes > 0 {
        try await writer.write(piece)
      }
      try await writer.finish(nil)
    }
  }

  static func failure(_ error: OperationError) -> Response {
    json(
      [
        "code": .string(error.code.rawValue), "message": .string(error.message),
        "problems": .array(error.problems.map(\.value)),
      ], status: status(error.code))
  }

  /// An error that has a status of its own, in the one shape.
  static func failure(_ status: HTTPResponse.Status, _ code: OperationError.Code, _ message: String) -> Response {
    json(["code": .string(code.rawValue), "message": .string(message), "problems": []], status: status)
  }

  /// 429: to be asked again after some time.
  static func tooMany(wait: Duration) -> Response {
    let seconds = max(1, wait.components.seconds + 1)
    var response = failure(.tooManyRequests, .denied, "too many wrong tokens: wait \(seconds) s")
    response.headers[.retryAfter] = "\(seconds)"
    return response
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

  static func value(_ report: ApplyReport) -> Value {
    [
      "items": .array(
        report.items.map { ["kind": .string($0.kind), "id": .string($0.id), "outcome": .string($0.outcome)] }),
      "problems": .array(report.problems.map(\.value)),
    ]
  }

  /// A part of the path, percent-decoding undone.
  static func parameter(_ name: String, _ context: GatewayContext) throws -> String {
    guard let raw = context.parameters.get(name) else { throw OperationError(.usage, "the path lacks \(name)") }
    guard let plain = raw.removingPercentEncoding else {
      throw OperationError(.usage, "the path's part for \(name) is not percent-encoded UTF-8")
    }
    return plain
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

  /// A parameter of the query; one that is empty counts as absent.
  static func text(_ name: String, _ request: Request) -> String? {
    request.uri.queryParameters[Substring(name)].map(String.init).flatMap { $0.isEmpty ? nil : $0 }
  }

  /// A parameter that is one of these words; the first of them when it is absent.
  static func choice(_ name: String, _ request: Request, of words: [String]) throws -> String {
    guard let word = text(name, request) else { return words.first ?? "" }
    guard words.contains(word) else {
      throw OperationError(.usage, "\(name) must be one of \(words.joined(separator: ", "))")
    }
    return word
  }

  /// A point in time: a length of time before now, or an instant.
  static func moment(_ name: String, _ request: Request) throws -> HistoryRequest.Moment? {
    guard let raw = text(name, request) else { return nil }
    guard let moment = HistoryRequest.Moment(raw) else {
      throw OperationError(
        .usage,
        "\(name) must be a length of time before now (90, 1h, 7d) or an instant in ISO 8601, of at most 100 years")
    }
    return moment
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
    // Who announces too much is told before it is read.
    if let announced = request.headers[.contentLength].flatMap({ Int($0) }), announced > limit {
      throw HTTPError(.contentTooLarge)
    }
    let buffer = try await request.body.collect(upTo: limit)
    if buffer.readableBytes == 0 { return .object([:]) }
    do {
      return try Value(json: buffer.readableBytesView)
    } catch {
      throw OperationError(.usage, "the body is not JSON")
    }
  }
}
