internal import Model
internal import TestKit
internal import Testing

@testable internal import Gateway

@Suite(.timeLimit(.minutes(2))) struct StreamTests {
  private func open(_ gateway: GatewayFixture) async throws -> SocketClient {
    let place = gateway.place
    let client = try await onThread {
      let client = try SocketClient(place)
      try client.send(SocketClient.head("GET", "/api/v1/updates", headers: GatewayFixture.bearer))
      let head = try client.replyHead()
      guard head.status == 200, head.headers["content-type"] == "text/event-stream" else {
        throw SocketClient.Failure(description: "no stream: \(head)")
      }
      return client
    }
    // The first bytes come at once, so that the page knows that it is connected.
    #expect(try await next(client) == ": syscrap\nretry: 3000\n\n")
    return client
  }

  /// The next chunk of the answer: one write of the stream.
  private func next(_ client: SocketClient) async throws -> String {
    try await onThread {
      guard let size = Int(try client.line(), radix: 16), size > 0 else {
        throw SocketClient.Failure(description: "the stream ended")
      }
      let bytes = try client.take(size)
      _ = try client.line()
      return String(decoding: bytes, as: UTF8.self)
    }
  }

  @Test("Updates arrive in order as events of their type, one line of JSON each")
  func events() async throws {
    let gateway = try await GatewayFixture()
    let client = try await open(gateway)
    // A reader may miss what comes faster than it reads, so each is read before the next is published.
    for number in 0..<300 {
      await gateway.operations.publish(["type": "target", "row": ["target": "a\nb", "n": .int(Int64(number))]])
      let event = try await next(client)
      #expect(
        event == "event: target\ndata: {\"row\":{\"n\":\(number),\"target\":\"a\\nb\"},\"type\":\"target\"}\n\n")
    }
    await gateway.stop()
  }

  @Test("An event's type cannot break out of its line")
  func types() {
    #expect(EventStream.event(["type": "gone"]) == "event: gone\ndata: {\"type\":\"gone\"}\n\n")
    #expect(EventStream.event(["a": 1]) == "event: message\ndata: {\"a\":1}\n\n")
    #expect(
      EventStream.event(["type": "x\n\nevent: gone"])
        == "event: message\ndata: {\"type\":\"x\\n\\nevent: gone\"}\n\n")
  }

  @Test("A silent stream gives a sign of life every 15 s")
  func silence() async throws {
    let gateway = try await GatewayFixture()
    let client = try await open(gateway)
    for _ in 0..<3 {
      try await gateway.clock.sleepers(atLeast: 1)
      gateway.clock.advance(by: .seconds(15))
      #expect(try await next(client) == ": still here\n\n")
    }
    await gateway.stop()
  }

  @Test("When a client goes away its stream ends at once and leaves nothing behind")
  func leaving() async throws {
    let gateway = try await GatewayFixture()
    for round in 1...5 {
      let client = try await open(gateway)
      client.endSending()
      let closed = gateway.operations.following
      _ = try await closed.first(from: round * 2 - 1) { $0 == "closed" }
      try await onThread { try client.waitForEnd() }
    }
    #expect(gateway.operations.following.all == Array(repeating: ["open", "closed"], count: 5).flatMap { $0 })
    #expect(gateway.clock.sleeperCount == 0)
    await gateway.stop()
  }

  @Test("When the updates end, so does the answer, and the connection stays good")
  func ending() async throws {
    let gateway = try await GatewayFixture()
    let client = try await open(gateway)
    await gateway.operations.finishUpdates()
    let after = try await onThread {
      guard try client.line() == "0", try client.line() == "" else {
        throw SocketClient.Failure(description: "the answer did not end")
      }
      return try client.ask("GET", "/healthz")
    }
    #expect(after.text == "ok\n")
    await gateway.stop()
  }
}
