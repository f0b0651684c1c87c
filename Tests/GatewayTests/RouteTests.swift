internal import Foundation
internal import Model
internal import TestKit
internal import Testing

@testable internal import Gateway

/// What each route asks of the operations, and what it makes of their answers.
@Suite(.timeLimit(.minutes(2))) struct RouteTests {
  @Test(
    "A path's parts and the query reach the operation as they were meant",
    arguments: [
      ("GET", "objects/targets", "get targets - [] 1000"),
      ("GET", "objects/targets?label=role%3Dweb&label=zone%3Da%3Db&limit=5", "get targets - [role=web,zone=a=b] 5"),
      ("GET", "objects/targets?label=empty%3D&limit=0", "get targets - [empty=] 0"),
      ("GET", "objects/targets/db%2F1?limit=100000", "get targets db/1 [] 100000"),
      ("GET", "objects/targets/a%20b", "get targets a b [] 1000"),
      ("GET", "objects/targets/%C3%BC%E2%82%AC", "get targets ü€ [] 1000"),
      ("GET", "objects/targets/100%2525", "get targets 100%25 [] 1000"),
      ("GET", "objects/targets/%2E%2E", "get targets .. [] 1000"),
      ("GET", "objects/targets/..", "get targets .. [] 1000"),
      ("GET", "objects/targets/%2E%2E%2F%2E%2E%2Fetc%2Fpasswd", "get targets ../../etc/passwd [] 1000"),
      ("GET", "objects/targets/a%0Ab%00", "get targets a\nb\0 [] 1000"),
      ("GET", "objects/targets/a+b%2Bc", "get targets a+b+c [] 1000"),
      ("GET", "objects/targets/%3Fx%23y", "get targets ?x#y [] 1000"),
      ("GET", "describe/target/web%2F1", "describe target web/1"),
      ("GET", "touch/web%2F1", "touch web/1"),
      ("POST", "privileges/web%2F1", "privileges web/1"),
      ("GET", "tree", "tree"),
      ("GET", "fleet", "fleet"),
      ("GET", "history/web%2F1/CPU", "history web/1 CPU - - ago(3600.0 seconds) 1000"),
      (
        "GET", "history/w/CPU?type=DAY&name=db&since=86400&until=1h&limit=7",
        "history w CPU db DAY ago(86400.0 seconds) until ago(3600.0 seconds) 7"
      ),
      (
        "GET", "history/w/CPU?type=&name=&until=&since=2026-11-21T08:00:00Z",
        "history w CPU - - at(2026-11-21 08:00:00 +0000) 1000"
      ),
      ("DELETE", "objects/targets/web?dry_run=true", "delete targets web true"),
      ("DELETE", "objects/targets/web", "delete targets web false"),
      ("POST", "queue/n%3A1/retry", "retry n:1"),
      ("POST", "queue/n%3A1/drop", "drop n:1 dropped by hand"),
      ("POST", "reload", "reload"),
    ])
  func asked(method: String, path: String, expected: String) async throws {
    let gateway = try await GatewayFixture()
    let reply = try await gateway.ask(method, "/api/v1/" + path)
    #expect(reply.status == 200, "\(reply.text)")
    #expect(reply.headers["content-type"] == "application/json")
    #expect(gateway.operations.asked.all == [expected])
    await gateway.stop()
  }

  @Test("History comes as comma-separated values where that is asked for")
  func comma() async throws {
    let gateway = try await GatewayFixture()
    let reply = try await gateway.ask("GET", "/api/v1/history/web/Vitals.CPU?format=csv")
    #expect(reply.status == 200)
    #expect(reply.headers["content-type"] == "text/csv; charset=utf-8; header=present")
    #expect(
      reply.text == "time,target,metric,name,type,tag,n,error,percent\r\n2026-11-21T08:00:00Z,web,,,,,,,1.5\r\n")
    await gateway.stop()
  }

  @Test("Bodies reach the operation, and its answer comes back whole")
  func bodies() async throws {
    let gateway = try await GatewayFixture()
    let applied = try await gateway.ask("POST", "/api/v1/apply?dry_run=true", json: "[{\"kind\":\"targets\"},{}]")
    #expect(
      applied.text == """
        {"items":[{"id":"a","kind":"targets","outcome":"created"}],"problems":[{"hint":"mend it","id":"a",\
        "kind":"targets","level":"warning","line":3,"path":"host","reason":"odd"}]}

        """)
    let ran = try await gateway.ask("POST", "/api/v1/exec", json: "{\"target\":\"w\",\"arguments\":[\"a b\",\"\"]}")
    #expect(
      ran.text == "{\"errors\":\"bm8=\",\"is_truncated\":true,\"output\":\"AP8=\",\"signal\":null,\"status\":3}\n")
    #expect(
      try await gateway.ask("POST", "/api/v1/notify/test", json: "{\"option\":\"mail\"}").text
        == "{\"outcome\":\"delivered\"}\n")
    #expect(
      try await gateway.ask("POST", "/api/v1/queue/n/drop", json: "{\"reason\":\"old\"}").text
        == "{\"outcome\":\"dropped\"}\n")
    #expect(
      gateway.operations.asked.all == ["apply 2 true", "exec w [\"a b\", \"\"]", "notify mail", "drop n old"])
    await gateway.stop()
  }

  @Test(
    "What cannot be meant is answered 400 and reaches nobody",
    arguments: [
      ("GET", "objects/targets?limit=-1", ""), ("GET", "objects/targets?limit=100001", ""),
      ("GET", "objects/targets?limit=x", ""), ("GET", "objects/targets?limit=", ""),
      ("GET", "objects/targets?limit=99999999999999999999", ""), ("GET", "objects/targets?label=role", ""),
      ("GET", "objects/targets?label=%3Dx", ""), ("GET", "objects/targets/%FF", ""),
      ("GET", "objects/targets/%zz", ""), ("GET", "history/a/CPU?since=-1", ""),
      ("GET", "history/a/CPU?since=99999999999", ""), ("GET", "history/a/CPU?until=later", ""),
      ("GET", "history/a/CPU?format=xml", ""), ("POST", "apply", "{\"a\":"), ("POST", "apply", "{}"),
      ("POST", "apply", ""), ("POST", "apply", "[1e999]"), ("POST", "apply", "\u{FEFF}nonsense"),
      ("POST", "apply", String(repeating: "[", count: 100_000)),
      ("POST", "exec", "{}"), ("POST", "exec", "{\"target\":\"a\",\"arguments\":[]}"),
      ("POST", "exec", "{\"target\":\"a\",\"arguments\":[1]}"),
      ("POST", "exec", "{\"target\":1,\"arguments\":[\"a\"]}"),
      ("POST", "notify/test", "{}"), ("POST", "notify/test", "[]"), ("POST", "queue/a/drop", "nonsense"),
    ])
  func refused(method: String, path: String, body: String) async throws {
    let gateway = try await GatewayFixture()
    let reply = try await gateway.ask(method, "/api/v1/" + path, body: Array(body.utf8))
    #expect(reply.status == 400)
    #expect(reply.errorCode == "usage", "\(reply.text)")
    #expect(gateway.operations.asked.all.isEmpty)
    await gateway.stop()
  }

  @Test(
    "Every error of an operation has the one shape and its own status",
    arguments: [
      (OperationError.Code.failed, 500), (.usage, 400), (.notFound, 404), (.denied, 403), (.unreachable, 502),
      (.refused, 422),
    ])
  func errors(code: OperationError.Code, status: Int) async throws {
    let gateway = try await GatewayFixture()
    await gateway.operations.script(
      error: OperationError(code, "why\u{1b}", problems: [Problem(kind: "targets", id: "a", path: "p", reason: "r")]))
    let reply = try await gateway.ask("POST", "/api/v1/apply", json: "[]")
    #expect(reply.status == status)
    #expect(
      reply.text == """
        {"code":"\(code.rawValue)","message":"why\\u001b","problems":[{"id":"a","kind":"targets","level":"refused",\
        "path":"p","reason":"r"}]}

        """)
    await gateway.stop()
  }

  @Test(
    "Unknown paths and methods are answered 404 in the one shape",
    arguments: [
      ("GET", "/nowhere"), ("PUT", "/api/v1/fleet"), ("GET", "/api/v1"), ("GET", "/api/v2/fleet"), ("HEAD", "/x"),
      ("GET", "/assets/..%2F..%2Fetc%2Fpasswd"), ("GET", "/assets/../../etc/passwd"), ("OPTIONS", "/api/v1/fleet"),
    ])
  func unknown(method: String, path: String) async throws {
    let gateway = try await GatewayFixture()
    let place = gateway.place
    let reply = try await onThread {
      let client = try SocketClient(place)
      try client.send(SocketClient.head(method, path, headers: GatewayFixture.bearer))
      return try client.reply(toHead: method == "HEAD")
    }
    #expect(reply.status == 404)
    if method != "HEAD" { #expect(reply.errorCode == "notFound", "\(reply.text)") }
    await gateway.stop()
  }

  @Test("Health and readiness say by their status what they found; metrics are in Prometheus' format")
  func health() async throws {
    let gateway = try await GatewayFixture()
    let fine = try await gateway.ask("GET", "/healthz", headers: [:])
    #expect((fine.status, fine.text) == (200, "ok\n"))
    let metrics = try await gateway.ask("GET", "/metrics", headers: [:])
    #expect(metrics.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8")
    #expect(metrics.text == "syscrap_up 1\n")
    await gateway.operations.script(alive: false, ready: false)
    #expect(try await gateway.ask("GET", "/healthz", headers: [:]).status == 503)
    let unready = try await gateway.ask("GET", "/readyz", headers: [:])
    #expect((unready.status, unready.text) == (503, "{\"status\":\"not ready\"}\n"))
    await gateway.stop()
  }

  @Test("A body over the limit is answered 413 before it has come, announced or not")
  func large() async throws {
    let gateway = try await GatewayFixture { $0.bodyLimit = 1000 }
    let place = gateway.place
    let headers = GatewayFixture.bearer
    let announced = try await onThread {
      let client = try SocketClient(place)
      try client.send(SocketClient.head("POST", "/api/v1/apply", headers: headers, length: 1 << 30))
      return try client.reply()
    }
    #expect((announced.status, announced.errorCode) == (413, "usage"))
    let unannounced = try await onThread {
      let client = try SocketClient(place)
      let chunked = headers.merging(["Transfer-Encoding": "chunked"]) { $1 }
      try client.send(SocketClient.head("POST", "/api/v1/apply", headers: chunked))
      for _ in 0..<3 { try client.send("200\r\n" + String(repeating: " ", count: 512) + "\r\n") }
      return try client.reply()
    }
    #expect((unannounced.status, unannounced.errorCode) == (413, "usage"))
    let exact = try await gateway.ask(
      "POST", "/api/v1/apply", body: Array("[]".utf8) + [UInt8](repeating: 32, count: 998))
    #expect(exact.status == 200)
    await gateway.stop()
  }

  @Test("Heads beyond the limits end the connection and not the service")
  func heads() async throws {
    let gateway = try await GatewayFixture()
    for head in [
      ["X-Long": String(repeating: "a", count: 20_000)],
      Dictionary((0..<200).map { ("X-\($0)", "a") }, uniquingKeysWith: { $1 }),
    ] {
      let status = try? await gateway.ask("GET", "/healthz", headers: head).status
      #expect(status == nil || status == 400 || status == 431)
    }
    let long = try? await gateway.ask("GET", "/" + String(repeating: "a", count: 1 << 20)).status
    #expect(long == nil || [400, 404, 414, 431].contains(long))
    for nonsense in ["\0\0\0\0\r\n\r\n", "GET / HTTP/9.9\r\n\r\n", "\u{16}\u{3}\u{1}\u{2}\r\n\r\n"] {
      let client = try await gateway.client()
      try await onThread {
        try client.send(nonsense)
        client.endSending()
        try client.waitForEnd()
      }
    }
    #expect(try await gateway.ask("GET", "/healthz", headers: [:]).status == 200)
    await gateway.stop()
  }

  @Test("An answer of 5 MiB arrives whole, and the connection serves the next request")
  func whole() async throws {
    let gateway = try await GatewayFixture()
    let row: Value = .string(String(repeating: "é<", count: 5000))
    let rows = Value.array(Array(repeating: row, count: 360))
    await gateway.operations.script(rows: rows)
    let expected = Array((rows.json() + "\n").utf8)
    #expect(expected.count > 5 << 20)
    let client = try await gateway.client()
    let (large, small) = try await onThread {
      let headers = GatewayFixture.bearer
      return (
        try client.ask("GET", "/api/v1/fleet", headers: headers), try client.ask("GET", "/healthz", headers: headers)
      )
    }
    #expect(large.headers["content-length"] == "\(expected.count)")
    #expect(large.body == expected)
    #expect(small.text == "ok\n")
    await gateway.stop()
  }

  @Test("The description lists exactly the routes that exist, each with the parts of its path")
  func description() async throws {
    let gateway = try await GatewayFixture()
    let reply = try await gateway.ask("GET", "/api/v1/openapi.json")
    let paths = try Value(json: reply.body)["paths"]?.fields ?? [:]
    let described = Set(
      paths.flatMap { path, methods in (methods.fields ?? [:]).keys.map { "\($0.uppercased()) \(path)" } })
    #expect(described == Set(gateway.routes.map { "\($0.method) \($0.path)" }))
    #expect(described.count > 20)
    for (path, methods) in paths {
      for (_, operation) in methods.fields ?? [:] {
        let named = (operation["parameters"]?.elements ?? []).filter { $0["in"]?.text == "path" }.compactMap {
          $0["name"]?.text
        }
        let parts = path.split(separator: "/").filter { $0.hasPrefix("{") }.map { String($0.dropFirst().dropLast()) }
        #expect(named == parts, "\(path)")
        #expect(operation["responses"]?.fields?.isEmpty == false)
      }
    }
    await gateway.stop()
  }
}
