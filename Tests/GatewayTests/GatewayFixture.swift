internal import Foundation
internal import Logging
internal import Model
internal import TestKit

@testable internal import Gateway

/// A Gateway on a free port of loopback, over scripted operations.
final class GatewayFixture: Sendable {
  static let token = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
  static let bearer = ["Authorization": "Bearer \(token)"]

  struct Listening: Sendable {
    var url: String
    var oneTimeToken: String
    var port: Int { Int(url.split(separator: ":").last ?? "") ?? 0 }
  }

  let operations = ScriptedOperations()
  let clock = ManualClock()
  let listening = EventLog<Listening>()
  let configuration: GatewayConfiguration
  let gateway: Gateway
  private let run: Task<Result<Void, any Error>, Never>
  let first: Listening

  /// - Parameter change: adjusts the configuration before the start.
  init(_ change: (inout GatewayConfiguration) -> Void = { _ in }) async throws {
    var configuration = GatewayConfiguration(address: .tcp(host: "127.0.0.1", port: 0), token: Self.token)
    change(&configuration)
    self.configuration = configuration
    let listening = listening
    let gateway = Gateway(
      configuration, operations: operations, logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() },
      clock: clock
    ) { url, token in listening.append(Listening(url: url, oneTimeToken: token)) }
    self.gateway = gateway
    run = Task {
      do {
        try await gateway.run()
        return .success(())
      } catch {
        // Who waits for the start of a Gateway that cannot start is told; one that was cancelled may run again.
        if !(error is CancellationError) { listening.finish() }
        return .failure(error)
      }
    }
    do {
      first = try await listening.first(within: .seconds(30)).element
    } catch {
      run.cancel()
      if case .failure(let why) = await run.value { throw why }
      throw error
    }
  }

  deinit { run.cancel() }

  var port: Int { first.port }

  var place: SocketClient.Place {
    if case .unix(let path) = configuration.address { .unix(path: path) } else { .tcp(port: port) }
  }

  /// Cancels the Gateway and waits for its end.
  @discardableResult
  func stop() async -> Result<Void, any Error> {
    run.cancel()
    return await run.value
  }

  func client() async throws -> SocketClient {
    let place = place
    return try await onThread { try SocketClient(place) }
  }

  /// One request on a connection of its own.
  func ask(
    _ method: String, _ path: String, headers: [String: String] = GatewayFixture.bearer, body: [UInt8]? = nil
  ) async throws -> SocketClient.Reply {
    let place = place
    return try await onThread { try SocketClient(place).ask(method, path, headers: headers, body: body) }
  }

  func ask(
    _ method: String, _ path: String, headers: [String: String] = GatewayFixture.bearer, json: String
  ) async throws -> SocketClient.Reply {
    try await ask(method, path, headers: headers, body: Array(json.utf8))
  }

  /// The cookie that a new one-time token buys, as a header's value.
  func cookie() async throws -> String {
    let made = try await ask("POST", "/api/v1/login-token")
    let token = try Value(json: made.body)["token"]?.text ?? ""
    let login = try await ask("GET", "/login?token=\(token)", headers: [:])
    return String((login.headers["set-cookie"] ?? "").prefix { $0 != ";" })
  }

  /// Every route of the router: method and path, parts that vary in braces.
  var routes: [(method: String, path: String)] {
    Routes(
      configuration: configuration, operations: operations, sessions: SessionBook(sessionLife: .seconds(1)) { .zero },
      clock: clock
    ).list
  }
}

extension SocketClient.Reply {
  /// The code of an error in the one shape; nil when the body has another shape.
  var errorCode: String? {
    guard let value = try? Value(json: body), let fields = value.fields,
      Set(fields.keys) == ["code", "message", "problems"], fields["problems"]?.elements != nil,
      fields["message"]?.text?.isEmpty == false
    else { return nil }
    return fields["code"]?.text
  }
}
