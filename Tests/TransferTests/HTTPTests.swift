internal import Foundation
import TestKit
import Testing
import Threads

@testable import Transfer

/// Requests to a real HTTP server (F24, F25).
@Suite(.enabled(if: PythonEnvironment.isExpected, "\(PythonEnvironment.absence)"))
struct HTTPTests {
  private func request(_ sink: HTTPSink, _ path: String = "/hook", method: String = "POST") -> HTTPRequest {
    HTTPRequest(
      method: method, url: "http://127.0.0.1:\(sink.port)\(path)", body: method == "GET" ? nil : Array("{}".utf8))
  }

  @Test("A request arrives as it was given, with nothing of libcurl's own wishes") func arrives() async throws {
    let sink = try await HTTPSink.start(replies: [.init(201, headers: [["X-Id", "7"], ["X-Id", "8"]], body: "done")])
    let engine = try makeEngine()
    var post = request(sink, "/a?b=c")
    post.headers = [
      .init("Content-Type", "application/json"), .init("X-Empty", ""), .init("Authorization", "Bearer x"),
    ]
    post.body = Array(("{\"text\": \"" + String(repeating: "ü", count: 2_000) + "\"}").utf8)
    let reply = try await engine.perform(post)
    #expect(reply.status == 201)
    #expect(reply.isSuccess && !reply.isTruncated)
    #expect(String(decoding: reply.body, as: UTF8.self) == "done")
    #expect(reply.headers.map { "\($0.name)=\($0.value)" } == ["x-id=7", "x-id=8", "content-length=4"])
    let got = try await sink.request()
    #expect(got.method == "POST" && got.path == "/a?b=c")
    #expect(Array(got.body.utf8) == post.body)
    #expect(
      got.headers.map { $0.joined(separator: "=") } == [
        "host=127.0.0.1:\(sink.port)", "user-agent=syscrap",
        "accept=*/*", "content-type=application/json", "x-empty=",
        "authorization=Bearer x", "content-length=\(post.body?.count ?? 0)",
      ])
    for method in ["GET", "PUT", "DELETE", "PATCH"] {
      _ = try await engine.perform(request(sink, "/\(method)", method: method))
    }
    _ = try await sink.request { $0.method == "PATCH" }
    #expect(sink.requests().map(\.method).sorted() == ["DELETE", "GET", "PATCH", "POST", "PUT"])
  }

  @Test("429 with Retry-After in seconds or as a date says how long to wait, and is not for good")
  func retryAfter() async throws {
    let date = DateFormatter()
    date.locale = Locale(identifier: "en_US_POSIX")
    date.timeZone = TimeZone(identifier: "GMT")
    date.dateFormat = "EEE, dd MMM yyyy HH:mm:ss 'GMT'"
    let inAnHour = date.string(from: Date(timeIntervalSinceNow: 3_600))
    let sink = try await HTTPSink.start(
      replies: ["30", inAnHour, "Mon, 01 Jan 2001 00:00:00 GMT", "soon"].map {
        .init(429, headers: [["Retry-After", $0]], body: "slow down")
      })
    let engine = try makeEngine()
    var waits: [Duration?] = []
    for _ in 0..<4 {
      let reply = try await engine.perform(request(sink))
      let error = try #require(throws: TransferError.self) { try reply.successful() }
      #expect(error.message == "the server answered with status 429: slow down")
      #expect(error.responseCode == 429 && !error.isPermanent)
      #expect(error.retryAfter == reply.retryAfter)
      waits.append(reply.retryAfter)
    }
    #expect(waits[0] == .seconds(30))
    // A date is compared with the clock of this machine, which went on while the test ran.
    #expect(try #require(waits[1]) <= .seconds(3_600) && #require(waits[1]) > .seconds(3_500))
    #expect(waits[2] == .zero)
    #expect(waits[3] == nil)
  }

  @Test("A body of 1 GB is cut at 64 KiB, and memory does not grow with it") func hugeBody() async throws {
    var huge = HTTPSink.Reply(200, body: "0123456789abcdef")
    huge.repeatedTo = 1_000_000_000
    let sink = try await HTTPSink.start(replies: [huge])
    let engine = try makeEngine()
    _ = try await engine.perform(request(sink))
    let before = try residentBytes()
    for _ in 0..<5 {
      let reply = try await engine.perform(request(sink))
      #expect(reply.isTruncated && reply.body.count == 65_536)
    }
    // Other tests of this process run meanwhile: the bound is far below one reply, not at one MiB.
    #expect(try residentBytes() - before < 100_000_000)
  }

  @Test("A body of exactly 64 KiB is whole, one byte more is cut", arguments: [65_535, 65_536, 65_537])
  func edge(_ count: Int) async throws {
    let sink = try await HTTPSink.start(replies: [.init(200, body: String(repeating: "x", count: count))])
    let reply = try await makeEngine().perform(request(sink))
    #expect(reply.body.count == min(count, 65_536))
    #expect(reply.isTruncated == (count > 65_536))
  }

  @Test("A reply that drips or never comes ends at the total deadline") func slowReply() async throws {
    var slow = HTTPSink.Reply(200, body: String(repeating: "x", count: 10_000))
    slow.byteDelay = 0.02
    var silent = HTTPSink.Reply()
    silent.hangs = true
    let sink = try await HTTPSink.start(replies: [slow, silent])
    let engine = try makeEngine()
    var post = request(sink)
    post.deadlines.total = .seconds(1)
    let errors = [await failure(engine, post), await failure(engine, post)]
    #expect(errors.map { $0?.code } == [.timedOut, .timedOut])
    #expect(errors[0]?.message.hasSuffix("waiting for the rest of the reply") == true)
    #expect(errors[1]?.message.hasSuffix("waiting for the reply") == true)
  }

  @Test("A closed connection is an error, a 500 a reply that may get better, a 404 one that will not")
  func failures() async throws {
    var closing = HTTPSink.Reply()
    closing.closes = true
    let sink = try await HTTPSink.start(replies: [closing, .init(500), .init(404), .init(410), .init(408)])
    let engine = try makeEngine()
    #expect(await failure(engine, request(sink))?.code == .closed)
    var permanent: [Bool] = []
    for _ in 0..<4 {
      let reply = try await engine.perform(request(sink))
      permanent.append(try #require(throws: TransferError.self) { try reply.successful() }.isPermanent)
    }
    #expect(permanent == [false, true, true, false])
  }

  @Test("A redirect is not followed") func redirect() async throws {
    let sink = try await HTTPSink.start(replies: [.init(302, headers: [["Location", "/elsewhere"]]), .init(200)])
    let reply = try await makeEngine().perform(request(sink))
    #expect(reply.status == 302)
    #expect(reply.header("Location") == "/elsewhere")
    _ = try await sink.request { $0.path == "/hook" }
    #expect(sink.requests().map(\.path) == ["/hook"])
  }

  @Test("HTTPS is verified against the authority that is named, and against nothing else") func https() async throws {
    let certificates = try await sharedCertificates.value
    let sink = try await HTTPSink.start(certificates: certificates.server)
    let engine = try makeEngine()
    var get = HTTPRequest(url: "https://localhost:\(sink.port)/token-in-path")
    get.caFile = certificates.authority
    #expect(try await engine.perform(get).status == 200)
    get.caFile = certificates.otherAuthority
    let error = try #require(await failure(engine, get))
    #expect(error.code == .certificate)
    #expect(!"\(error)".contains("token-in-path"))
    get.caFile = nil
    #expect(await failure(engine, get)?.code == .certificate)
    #expect(sink.requests().count == 1)
  }

  @Test("The guard decides on the address itself; no name and no number gets around it") func addressGuard()
    async throws
  {
    let sink = try await HTTPSink.start()
    let engine = try makeEngine()
    let seen = Locked<Set<String>>([])
    for host in ["127.0.0.1", "localhost", "2130706433", "0x7f.1", "017700000001", "[::ffff:127.0.0.1]"] {
      var get = HTTPRequest(url: "http://\(host):\(sink.port)/")
      get.addressGuard = { address in
        seen.withLock { _ = $0.insert(address.host) }
        return false
      }
      #expect(await failure(engine, get)?.code == .addressRefused, "\(host)")
    }
    #expect(sink.requests() == [])
    #expect(seen.withLock { $0 }.isSubset(of: ["127.0.0.1", "::1", "::ffff:127.0.0.1"]))
    // A connection that one guard let through does not serve the next request.
    var get = HTTPRequest(url: "http://127.0.0.1:\(sink.port)/")
    get.addressGuard = { $0.bytes == [127, 0, 0, 1] && $0.port == sink.port }
    #expect(try await engine.perform(get).status == 200)
    get.addressGuard = { _ in false }
    #expect(await failure(engine, get)?.code == .addressRefused)
  }

  @Test("Cancelling a request ends it at once, and 64 others go on") func cancellation() async throws {
    var silent = HTTPSink.Reply()
    silent.hangs = true
    let sink = try await HTTPSink.start(replies: [silent, .init()])
    let engine = try makeEngine()
    let first = Task { await failure(engine, request(sink, "/first")) }
    try await sink.request { $0.path == "/first" }
    let codes = await withTaskGroup(of: TransferError.Code?.self) { group in
      for number in 0..<64 { group.addTask { await failure(engine, request(sink, "/\(number)"))?.code } }
      return await group.reduce(into: [TransferError.Code?]()) { $0.append($1) }
    }
    #expect(codes == Array(repeating: nil, count: 64))
    first.cancel()
    #expect(await first.value?.code == .cancelled)
    await engine.shutdown()
    #expect(await failure(engine, request(sink))?.code == .shutDown)
  }

  private func residentBytes() throws -> Int {
    let text = try String(contentsOfFile: "/proc/self/statm", encoding: .utf8)
    return try #require(Int(text.split(separator: " ")[1])) * 4_096
  }
}
