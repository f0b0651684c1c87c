internal import Model
internal import TestKit
internal import Testing

@testable internal import Gateway

/// Every route, with every kind of credential, over real sockets.
@Suite(.timeLimit(.minutes(2))) struct AccessTests {
  static let open: Set<String> = ["/healthz", "/readyz", "/metrics"]

  /// Asks every route but the endless one in turn, each on a connection of its own.
  private func statuses(
    of gateway: GatewayFixture, headers: [String: String], skip: Set<String> = []
  ) async throws -> [String: SocketClient.Reply] {
    let (routes, place) = (gateway.routes, gateway.place)
    return try await onThread {
      var replies: [String: SocketClient.Reply] = [:]
      for route in routes where !skip.contains(route.path) {
        let path = route.path.filter { $0 != "{" && $0 != "}" }
        let client = try SocketClient(place)
        try client.send(
          SocketClient.head(route.method, path, headers: headers, length: route.method == "POST" ? 2 : nil))
        if route.method == "POST" { try client.send(path.hasSuffix("apply") ? "[]" : "{}") }
        replies["\(route.method) \(route.path)"] = try client.reply()
      }
      return replies
    }
  }

  private func isOpen(_ route: String) -> Bool { Self.open.contains(String(route.split(separator: " ").last ?? "")) }

  @Test(
    "Without a token only health, readiness and metrics answer, and everything else says in one shape how to get in")
  func noToken() async throws {
    let gateway = try await GatewayFixture()
    let replies = try await statuses(of: gateway, headers: [:], skip: ["/login"])
    #expect(replies.count == gateway.routes.count - 1)
    for (route, reply) in replies {
      #expect(reply.status == (isOpen(route) ? 200 : 401), "\(route)")
      if !isOpen(route) {
        #expect(reply.errorCode == "denied", "\(route)")
        #expect(reply.headers["www-authenticate"] == "Bearer realm=\"syscrap\"", "\(route)")
      }
    }
    let asked = gateway.operations.asked.all
    #expect(asked.isEmpty, "nobody is asked before access is granted: \(asked)")
    await gateway.stop()
  }

  @Test("A wrong token is refused on every route that needs one")
  func wrongToken() async throws {
    let gateway = try await GatewayFixture()
    let replies = try await statuses(of: gateway, headers: ["Authorization": "Bearer \(GatewayFixture.token)x"])
    for (route, reply) in replies {
      let expected: Set<Int> = isOpen(route) ? [200] : [401, 429]
      #expect(expected.contains(reply.status), "\(route): \(reply.status)")
    }
    #expect(gateway.operations.asked.all.isEmpty)
    await gateway.stop()
  }

  @Test("With the token every route lets in, whatever it then says of the request")
  func rightToken() async throws {
    let gateway = try await GatewayFixture()
    for (route, reply) in try await statuses(of: gateway, headers: GatewayFixture.bearer, skip: ["/login"]) {
      #expect([200, 400].contains(reply.status), "\(route): \(reply.status)")
    }
    await gateway.stop()
  }

  @Test("A session's cookie reads everywhere, but changes only with the page's own origin")
  func cookie() async throws {
    let gateway = try await GatewayFixture()
    let cookie = try await gateway.cookie()
    let bare = try await statuses(of: gateway, headers: ["Cookie": cookie], skip: ["/login"])
    for (route, reply) in bare {
      let expected: Set<Int> = route.hasPrefix("GET ") ? [200] : [403]
      #expect(expected.contains(reply.status), "\(route): \(reply.status)")
      if reply.status == 403 { #expect(reply.errorCode == "denied", "\(route)") }
    }
    let own = try await statuses(
      of: gateway, headers: ["Cookie": cookie, "Origin": "http://localhost"], skip: ["/login"])
    for (route, reply) in own { #expect([200, 400].contains(reply.status), "\(route): \(reply.status)") }
    let stale = try await statuses(of: gateway, headers: ["Cookie": cookie + "0"], skip: ["/login"])
    for (route, reply) in stale { #expect(reply.status == (isOpen(route) ? 200 : 401), "\(route)") }
    await gateway.stop()
  }

  @Test("A foreign Host or Origin is refused on every route, token or not")
  func foreign() async throws {
    let gateway = try await GatewayFixture()
    for foreign in [
      ["Host": "evil.example"], ["Host": "evil.example:7070"], ["Host": "localhost.evil.example"],
      ["Origin": "http://evil.example"], ["Origin": "null"], ["Origin": "http://localhost:1"],
    ] {
      let headers = GatewayFixture.bearer.merging(foreign) { $1 }
      for (route, reply) in try await statuses(of: gateway, headers: headers) {
        #expect(reply.status == 403, "\(route) \(foreign): \(reply.status)")
        #expect(reply.errorCode == "denied", "\(route) \(foreign)")
      }
    }
    #expect(gateway.operations.asked.all.isEmpty)
    await gateway.stop()
  }

  @Test(
    "Every way to write this machine's name is let in",
    arguments: ["localhost", "LOCALHOST:80", "127.0.0.1:7070", "127.9.9.9", "[::1]:7070", "[::1]"])
  func ownHost(host: String) async throws {
    let gateway = try await GatewayFixture()
    #expect(try await gateway.ask("GET", "/healthz", headers: ["Host": host]).status == 200)
    await gateway.stop()
  }

  @Test("A request without a Host is refused")
  func noHost() async throws {
    let gateway = try await GatewayFixture()
    #expect(try await gateway.ask("GET", "/healthz", headers: ["Host": ""]).status == 403)
    await gateway.stop()
  }

  @Test("Every answer carries the safe headers: pages, data, errors, unknown paths, foreign origins")
  func headers() async throws {
    let gateway = try await GatewayFixture()
    var replies = try await statuses(of: gateway, headers: GatewayFixture.bearer)
    for (route, reply) in try await statuses(of: gateway, headers: [:]) { replies["no token " + route] = reply }
    replies["unknown"] = try await gateway.ask("GET", "/nowhere")
    replies["unknown, no token"] = try await gateway.ask("GET", "/nowhere", headers: [:])
    replies["method"] = try await gateway.ask("PUT", "/healthz")
    replies["foreign"] = try await gateway.ask("GET", "/", headers: ["Origin": "http://evil.example"])
    await gateway.operations.script(error: OperationError(.failed, "broken"))
    replies["broken"] = try await gateway.ask("GET", "/api/v1/fleet")
    #expect(replies["broken"]?.status == 500)
    for (route, reply) in replies {
      let policy = reply.headers["content-security-policy"] ?? ""
      #expect(policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"), "\(route)")
      #expect(!policy.contains("unsafe"), "\(route)")
      #expect(reply.headers["x-content-type-options"] == "nosniff", "\(route)")
      #expect(reply.headers["referrer-policy"] == "no-referrer", "\(route)")
      #expect(reply.headers["x-frame-options"] == "DENY", "\(route)")
      #expect(reply.headers["cache-control"] == "no-store", "\(route)")
      #expect(reply.headers.keys.allSatisfy { !$0.hasPrefix("access-control") }, "\(route)")
    }
    await gateway.stop()
  }

  @Test("A one-time token opens one session, with a cookie that scripts and other sites do not get")
  func login() async throws {
    let gateway = try await GatewayFixture()
    let path = "/login?token=\(gateway.first.oneTimeToken)"
    let reply = try await gateway.ask("GET", path, headers: ["Host": "127.0.0.1:\(gateway.port)"])
    #expect(reply.status == 303)
    #expect(reply.headers["location"] == "/")
    let parts = (reply.headers["set-cookie"] ?? "").split(separator: ";").map { $0.drop { $0 == " " } }
    #expect(parts.first?.hasPrefix("syscrap_session_\(gateway.port)=") == true)
    #expect(parts.first?.count == "syscrap_session_\(gateway.port)=".count + 64)
    #expect(Set(parts.dropFirst()) == ["Path=/", "HttpOnly", "SameSite=Strict", "Max-Age=43200"])
    #expect(try await gateway.ask("GET", path, headers: [:]).status == 401)
    await gateway.stop()
  }

  @Test("One-time tokens end after ten minutes, sessions after their life")
  func expiry() async throws {
    let gateway = try await GatewayFixture { $0.sessionLife = .seconds(3600) }
    let cookie = try await gateway.cookie()
    gateway.clock.advance(by: .seconds(600))
    #expect(try await gateway.ask("GET", "/login?token=\(gateway.first.oneTimeToken)", headers: [:]).status == 401)
    #expect(try await gateway.ask("GET", "/api/v1/fleet", headers: ["Cookie": cookie]).status == 200)
    gateway.clock.advance(by: .seconds(3001))
    #expect(try await gateway.ask("GET", "/api/v1/fleet", headers: ["Cookie": cookie]).status == 401)
    await gateway.stop()
  }

  @Test("After ten different wrong tokens within a minute even the right one has to wait")
  func guesses() async throws {
    let gateway = try await GatewayFixture()
    func show(_ token: String) async throws -> SocketClient.Reply {
      try await gateway.ask("GET", "/api/v1/fleet", headers: ["Authorization": "Bearer \(token)"])
    }
    for guess in 0..<10 { #expect(try await show("\(guess)").status == 401) }
    let eleventh = try await show("10")
    #expect(eleventh.status == 429)
    #expect(eleventh.errorCode == "denied")
    #expect(eleventh.headers["retry-after"] == "61")
    #expect(try await show(GatewayFixture.token).status == 429)
    #expect(try await gateway.ask("GET", "/login?token=\(gateway.first.oneTimeToken)", headers: [:]).status == 429)
    #expect(try await gateway.ask("GET", "/healthz", headers: [:]).status == 200)
    gateway.clock.advance(by: .seconds(60))
    #expect(try await show(GatewayFixture.token).status == 200)
    #expect(
      try await gateway.ask("GET", "/login?token=\(gateway.first.oneTimeToken)", headers: [:]).status == 303,
      "the link was not used up while nobody was let in")
    await gateway.stop()
  }

  @Test("One outdated token shown again and again is answered 429 and locks nobody out")
  func outdated() async throws {
    let gateway = try await GatewayFixture()
    var statuses: [Int] = []
    for _ in 0..<12 {
      statuses.append(try await gateway.ask("GET", "/api/v1/tree", headers: ["Authorization": "Bearer old"]).status)
    }
    #expect(statuses == Array(repeating: 401, count: 10) + [429, 429])
    #expect(try await gateway.ask("GET", "/api/v1/tree").status == 200)
    await gateway.stop()
  }
}
