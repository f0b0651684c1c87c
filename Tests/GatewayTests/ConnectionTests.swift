internal import Foundation
internal import Model
internal import TestKit
internal import Testing

@testable internal import Gateway

/// Idle and slow clients, and the Gateway's own end and restart.
@Suite(.timeLimit(.minutes(2))) struct ConnectionTests {
  @Test("300 idle connections and 100 slow heads keep nobody from /healthz, though only 256 connections may be open")
  func crowd() async throws {
    let gateway = try await GatewayFixture()
    #expect(gateway.configuration.connectionLimit == 256)
    let place = gateway.place
    let crowd = try await onThread {
      let idle = try (0..<300).map { _ in try SocketClient(place) }
      let slow = try (0..<100).map { _ in
        let client = try SocketClient(place)
        try client.send("GET /healthz HTTP/1.1\r\nHost: local")
        return client
      }
      return idle + slow
    }
    for _ in 0..<20 {
      #expect(try await gateway.ask("GET", "/healthz", headers: [:]).text == "ok\n")
    }
    // Those that were idle longest had to go; the youngest are still there.
    try await onThread { try crowd[0].waitForEnd() }
    let youngest = try await onThread { () throws -> SocketClient.Reply in
      try crowd[399].send("host\r\n\r\n")
      return try crowd[399].reply()
    }
    #expect(youngest.text == "ok\n")
    await gateway.stop()
  }

  @Test("Connections that are being answered are never given up for others")
  func busy() async throws {
    let gateway = try await GatewayFixture { $0.connectionLimit = 2 }
    let gate = EventLog<Void>()
    await gateway.operations.script(gate: gate)
    let clients = [try await gateway.client(), try await gateway.client()]
    for client in clients {
      try await onThread { try client.send(SocketClient.head("GET", "/api/v1/fleet", headers: GatewayFixture.bearer)) }
    }
    _ = try await gateway.operations.asked.first(from: 1)
    let refused = try await gateway.client()
    try await onThread { try refused.waitForEnd() }
    gate.append(())
    for client in clients { #expect(try await onThread { try client.reply() }.status == 200) }
    await gateway.stop()
  }

  @Test("A head that trickles in is cut off by its deadline, however lively the bytes come")
  func slowHead() async throws {
    let gateway = try await GatewayFixture { $0.limits.head = .milliseconds(300) }
    let client = try await gateway.client()
    try await onThread {
      try client.send("GET / HTTP/1.1\r\nX-Slow: ")
      // Sending fails once the other side has closed; a Gateway without the deadline would read on for minutes.
      for _ in 0..<10_000 {
        do { try client.send("a") } catch { return }
        usleep(10_000)
      }
      throw SocketClient.Failure(description: "never cut off")
    }
    await gateway.stop()
  }

  @Test("An idle connection, and a body that does not come, are cut off by their deadlines")
  func slowBody() async throws {
    let gateway = try await GatewayFixture {
      $0.limits.body = .milliseconds(200)
      $0.limits.idle = .milliseconds(200)
    }
    let (idle, body) = (try await gateway.client(), try await gateway.client())
    try await onThread {
      _ = try idle.ask("GET", "/healthz")
      try idle.waitForEnd()
      try body.send(SocketClient.head("POST", "/api/v1/apply", headers: GatewayFixture.bearer, length: 100))
      try body.send("[")
      try body.waitForEnd()
    }
    #expect(gateway.operations.asked.all.isEmpty)
    await gateway.stop()
  }

  @Test("A body that is not wanted is thrown away for a while only")
  func unwanted() async throws {
    let gateway = try await GatewayFixture { $0.limits.discard = .milliseconds(200) }
    let client = try await gateway.client()
    let status = try await onThread {
      try client.send(SocketClient.head("POST", "/api/v1/apply", headers: [:], length: 1 << 30))
      let status = try client.reply().status
      try client.waitForEnd()
      return status
    }
    #expect(status == 401)
    await gateway.stop()
  }

  @Test("Somebody who does not read what was asked for is cut off")
  func stalled() async throws {
    let gateway = try await GatewayFixture { $0.limits.send = .milliseconds(200) }
    await gateway.operations.script(rows: .string(String(repeating: "a", count: 32 << 20)))
    let port = gateway.port
    let client = try await gateway.client()
    try await onThread {
      try client.send(SocketClient.head("GET", "/api/v1/fleet", headers: GatewayFixture.bearer))
      _ = try client.replyHead()
      try client.waitForEndWithoutReading(port: port)
      do { _ = try client.take(32 << 20) } catch { return }
      throw SocketClient.Failure(description: "the answer came whole")
    }
    await gateway.stop()
  }

  /// A free port below those that the kernel gives to clients, so that no client takes it between two starts.
  private static func quietPort() async throws -> Int {
    for _ in 0..<20 {
      let port = Int.random(in: 20_000..<32_000)
      guard let fixture = try? await GatewayFixture({ $0.address = .tcp(host: "127.0.0.1", port: port) }) else {
        continue
      }
      await fixture.stop()
      return port
    }
    throw SocketClient.Failure(description: "no free port")
  }

  @Test("Cancelled with open streams, idle and half-sent requests it ends promptly, and starts again on the same port")
  func restart() async throws {
    let port = try await Self.quietPort()
    func start() async throws -> GatewayFixture {
      try await GatewayFixture {
        $0.address = .tcp(host: "127.0.0.1", port: port)
        $0.grace = .seconds(20)
      }
    }
    var gateway = try await start()
    for _ in 0..<3 {
      let place = gateway.place
      let clients = try await onThread {
        try (0..<15).map { number in
          let client = try SocketClient(place)
          switch number % 3 {
          case 0:
            try client.send(SocketClient.head("GET", "/api/v1/updates", headers: GatewayFixture.bearer))
            _ = try client.replyHead()
          case 1: _ = try client.ask("GET", "/healthz")
          default: try client.send("GET /hea")
          }
          return client
        }
      }
      // Well below the grace: nobody of these has an answer to wait for.
      let before = ContinuousClock.now
      let end = await gateway.stop()
      #expect(throws: CancellationError.self) { try end.get() }
      #expect(ContinuousClock.now - before < .seconds(10))
      #expect(gateway.operations.following.all.filter { $0 == "closed" }.count == 5)
      try await onThread { for client in clients { try client.waitForEnd() } }
      gateway = try await start()
      #expect(try await gateway.ask("GET", "/healthz", headers: [:]).status == 200)
    }
    await gateway.stop()
  }

  @Test("The same Gateway can run again, and its sessions stay good")
  func again() async throws {
    let fixture = try await GatewayFixture()
    let cookie = try await fixture.cookie()
    await fixture.stop()
    let gateway = fixture.gateway
    let position = fixture.listening.all.count
    let again = Task { try await gateway.run() }
    let second = try await fixture.listening.first(from: position, within: .seconds(30)).element
    let status = try await onThread {
      try SocketClient(.tcp(port: second.port)).ask("GET", "/api/v1/fleet", headers: ["Cookie": cookie]).status
    }
    #expect(status == 200)
    again.cancel()
    _ = await again.result
  }

  @Test("An answer under way is still given when the Gateway ends")
  func lastAnswer() async throws {
    let gateway = try await GatewayFixture { $0.grace = .seconds(20) }
    let gate = EventLog<Void>()
    await gateway.operations.script(rows: ["last"], gate: gate)
    let client = try await gateway.client()
    try await onThread { try client.send(SocketClient.head("GET", "/api/v1/fleet", headers: GatewayFixture.bearer)) }
    _ = try await gateway.operations.asked.first { $0 == "fleet" }
    let end = Task { await gateway.stop() }
    // The listening socket is closed before anything else.
    let place = gateway.place
    try await onThread { while (try? SocketClient(place)) != nil { usleep(10_000) } }
    gate.append(())
    #expect(try await onThread { try client.reply() }.text == "[\"last\"]\n")
    _ = await end.value
  }

  @Test("An answer that takes longer than the grace does not hold up the end")
  func tooLate() async throws {
    let gateway = try await GatewayFixture { $0.grace = .milliseconds(100) }
    let gate = EventLog<Void>()
    await gateway.operations.script(gate: gate)
    let client = try await gateway.client()
    try await onThread { try client.send(SocketClient.head("GET", "/api/v1/fleet", headers: GatewayFixture.bearer)) }
    _ = try await gateway.operations.asked.first { $0 == "fleet" }
    let end = Task { await gateway.stop() }
    try await onThread { try client.waitForEnd() }
    gate.append(())
    let result = await end.value
    #expect(throws: CancellationError.self) { try result.get() }
  }

  @Test("A program that is started meanwhile does not keep the port")
  func inheritance() async throws {
    let port = try await Self.quietPort()
    let gateway = try await GatewayFixture { $0.address = .tcp(host: "127.0.0.1", port: port) }
    let program = try ManagedProcess(["sleep", "60"])
    await gateway.stop()
    let again = try await GatewayFixture { $0.address = .tcp(host: "127.0.0.1", port: port) }
    #expect(program.exits.all.isEmpty)
    await again.stop()
    _ = await program.stop()
  }

  @Test("A port that is taken is an error at once")
  func taken() async throws {
    let gateway = try await GatewayFixture()
    let port = gateway.port
    await #expect(throws: (any Error).self) {
      _ = try await GatewayFixture { $0.address = .tcp(host: "127.0.0.1", port: port) }
    }
    await gateway.stop()
  }

  @Test("A unix socket is only for owner and group, needs the token all the same, and replaces what was left over")
  func unixSocket() async throws {
    let folder = try TemporaryDirectory("gateway")
    let path = folder.file("http.sock")
    for _ in 0..<2 {
      let gateway = try await GatewayFixture { $0.address = .unix(path: path) }
      let attributes = try FileManager.default.attributesOfItem(atPath: path)
      #expect((attributes[.posixPermissions] as? NSNumber)?.intValue == 0o660)
      #expect(try await gateway.ask("GET", "/healthz", headers: ["Host": "anything"]).status == 200)
      #expect(try await gateway.ask("GET", "/api/v1/fleet", headers: [:]).status == 401)
      #expect(try await gateway.ask("GET", "/api/v1/fleet").status == 200)
      // A second one must not take the first one's place.
      await #expect(throws: UnixSocketFile.Refused.self) {
        _ = try await GatewayFixture { $0.address = .unix(path: path) }
      }
      await gateway.stop()
    }
    try SocketFile.leave(at: path)
    let gateway = try await GatewayFixture { $0.address = .unix(path: path) }
    #expect(try await gateway.ask("GET", "/healthz", headers: [:]).status == 200)
    await gateway.stop()
  }

  @Test("What is no socket is never removed")
  func noSocket() async throws {
    let folder = try TemporaryDirectory("gateway")
    let path = try folder.write("precious", "data")
    await #expect(throws: UnixSocketFile.Refused.self) {
      _ = try await GatewayFixture { $0.address = .unix(path: path) }
    }
    #expect(try String(contentsOfFile: path, encoding: .utf8) == "data")
    await #expect(throws: UnixSocketFile.Refused.self) {
      _ = try await GatewayFixture { $0.address = .unix(path: "/tmp/" + String(repeating: "a", count: 200)) }
    }
  }
}
