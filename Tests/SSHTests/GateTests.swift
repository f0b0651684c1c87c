import Foundation
import Glibc
import Logging
import Remote
import TestKit
import Testing

@testable import SSH

@Suite("How fast connections begin")
struct GateTests {
  private static let away = RemoteError(.refusedByPolicy, phase: .banner, "away")
  private static let lost = RemoteError(.lost, phase: .banner, "gone")

  /// Lets everybody in as time passes and has each leave after `stay`. - Returns: who began when, in order.
  private func begins(
    _ entries: [String], limits: ConnectGate.Limits = .init(), stay: Duration, failure: RemoteError? = nil
  ) -> [(address: String, at: Duration)] {
    var book = GateBook(limits)
    for (id, address) in entries.enumerated() { _ = book.enter(UInt64(id), address) }
    var now = Duration.zero
    var inside: [(address: String, until: Duration)] = []
    var begun: [(address: String, at: Duration)] = []
    for _ in 0..<100_000 where begun.count < entries.count {
      for entry in inside where entry.until <= now { book.leave(entry.address, failure, at: now, random: 0) }
      inside.removeAll { $0.until <= now }
      let (admitted, next) = book.admit(at: now)
      for id in admitted {
        begun.append((entries[Int(id)], now))
        inside.append((entries[Int(id)], now + stay))
      }
      guard let event = (inside.map(\.until) + [next].compactMap(\.self)).min() else { break }
      #expect(event > now)
      now = event
    }
    #expect(begun.count == entries.count)
    return begun
  }

  private func expect(
    _ book: inout GateBook, at now: Duration, admits expected: [UInt64],
    sourceLocation: SourceLocation = #_sourceLocation
  ) {
    let (admitted, _) = book.admit(at: now)
    #expect(admitted == expected, sourceLocation: sourceLocation)
  }

  @Test("Of one address four are on their way at a time, and ten begin in any second")
  func oneAddress() {
    for stay in [Duration.milliseconds(1), .milliseconds(90), .milliseconds(700)] {
      let times = begins(Array(repeating: "a", count: 60), stay: stay).map(\.at)
      for index in 4..<times.count { #expect(times[index] - times[index - 4] >= stay + .milliseconds(50)) }
      for index in 10..<times.count { #expect(times[index] - times[index - 10] >= .seconds(1)) }
      // And no slower than that.
      let slot = max(.milliseconds(100), (stay + .milliseconds(50)) / 4)
      #expect(times[59] <= slot * 60)
    }
  }

  @Test("Of all addresses fifty begin in any second, in the order of coming")
  func total() {
    let begun = begins((0..<500).map { "host-\($0)" }, stay: .milliseconds(300))
    #expect(begun.map(\.address) == (0..<500).map { "host-\($0)" })
    for index in 50..<500 { #expect(begun[index].at - begun[index - 50].at >= .seconds(1)) }
    #expect(begun[499].at == .seconds(9))
  }

  @Test("An address that has to wait holds up no other, and keeps its own order")
  func others() {
    var book = GateBook(.init())
    let entries = (0..<30).map { _ in "busy" } + ["a", "b", "a"]
    for (id, address) in entries.enumerated() { _ = book.enter(UInt64(id), address) }
    expect(&book, at: .zero, admits: [0, 1, 2, 3, 30, 31, 32])
    book.leave("busy", nil, at: .milliseconds(10), random: 0)
    let settling = book.admit(at: .milliseconds(10))
    #expect(settling.admitted == [] && settling.next == .milliseconds(60))
    expect(&book, at: .milliseconds(60), admits: [4])
  }

  @Test("Who gives up leaves the line, and a full line takes nobody")
  func givingUp() {
    var limits = ConnectGate.Limits(handshakes: 1)
    limits.waiters = 3
    var book = GateBook(limits)
    let entered = [book.enter(1, "a"), book.enter(2, "a"), book.enter(3, "a"), book.enter(4, "b")]
    #expect(entered == [true, true, true, false])
    book.giveUp(1)
    book.giveUp(9)
    _ = book.enter(5, "a")
    expect(&book, at: .zero, admits: [2])
    book.leave("a", Self.lost, at: .zero, random: 0)
    expect(&book, at: .milliseconds(50), admits: [3])
  }

  @Test("After a refusal at the door the address is left alone for 1 s to 60 s, more from time to time")
  func refusals() {
    for (random, expected) in [(0.0, [1, 1, 1, 1, 1, 1, 1, 1]), (1.0, [2, 4, 8, 16, 32, 60, 60, 60])] {
      var book = GateBook(.init())
      var now = Duration.zero
      for (id, seconds) in expected.enumerated() {
        _ = book.enter(UInt64(id), "a")
        expect(&book, at: now, admits: [UInt64(id)])
        book.leave("a", Self.away, at: now, random: random)
        _ = book.enter(1000, "a")
        let (admitted, next) = book.admit(at: now)
        #expect(admitted == [] && next == now + .seconds(seconds))
        book.giveUp(1000)
        now += .seconds(seconds)
      }
      // A login forgives.
      _ = book.enter(50, "a")
      expect(&book, at: now, admits: [50])
      book.leave("a", nil, at: now, random: random)
      _ = book.enter(51, "a")
      now += .seconds(2)
      expect(&book, at: now, admits: [51])
      book.leave("a", Self.away, at: now, random: 1)
      _ = book.enter(52, "a")
      let (_, next) = book.admit(at: now)
      #expect(next == now + .seconds(2))
    }
  }

  @Test("What a jump host says of where it may lead closes no gate, and neither does an outage")
  func otherFailures() {
    let prohibited = RemoteError(.refusedByPolicy, phase: .connect, "prohibited")
    for failure in [prohibited, Self.lost] {
      let times = begins(Array(repeating: "a", count: 8), stay: .milliseconds(1), failure: failure).map(\.at)
      #expect(times[7] < .seconds(1))
    }
  }

  @Test("The gate wakes who waits when the clock has come, and who is cancelled at once", .timeLimit(.minutes(1)))
  func waking() async throws {
    let clock = ManualClock()
    let gate = ConnectGate(limits: .init(handshakes: 1, perSecond: 1), clock: clock, random: { 0 })
    let begun = EventLog<Int>()
    func enter(_ number: Int) -> Task<RemoteError?, Never> {
      Task {
        do throws(RemoteError) {
          try await gate.enter("a")
          begun.append(number)
          return nil
        } catch {
          return error
        }
      }
    }
    #expect(await enter(0).value == nil)
    let second = enter(1)
    while await gate.waitingCount < 1 { await Task.yield() }
    let third = enter(2)
    while await gate.waitingCount < 2 { await Task.yield() }
    second.cancel()
    #expect(await second.value?.code == .closed)
    await gate.leave("a", nil)
    try await clock.sleepers(atLeast: 1)
    #expect(begun.all == [0])
    while begun.all.count < 2 {
      try await clock.sleepers(atLeast: 1)
      if let next = clock.nextDeadline { clock.advance(to: next) }
      while begun.all.count < 2, clock.sleeperCount == 0 { await Task.yield() }
    }
    #expect(await third.value == nil)
    #expect(begun.all == [0, 2])
    #expect(clock.now.offset == .seconds(1))
    #expect(await gate.waitingCount == 0)
  }
}

@Suite("Connections through the gate", .serialized, .enabled(if: SSHServer.isAvailable, "openssh-server is missing"))
struct GatedConnectTests {
  /// What sshd logs when it drops a stranger.
  private func drops(_ server: SSHServer) -> [String] {
    server.log.all.filter { $0.contains("MaxStartups") || $0.hasPrefix("drop connection") }
  }

  @Test("Forty connections at once to an sshd that bears four strangers are all let in")
  func maxStartups() async throws {
    try await Harness.with(options: ["MaxStartups 4:30:10"], connects: .init()) { harness in
      try await withThrowingTaskGroup(of: Connection.self) { group in
        for _ in 0..<40 { group.addTask { try await harness.connector().connection() } }
        for try await connection in group { await connection.close() }
      }
      #expect(harness.server.acceptedCount == 40)
      #expect(drops(harness.server) == [])
    }
  }

  @Test("Behind a jump host the gate counts for what they all go through, and the jump host sees one stranger")
  func behindJump() async throws {
    try await Harness.with(options: ["MaxStartups 4:30:10"], connects: .init()) { harness in
      try await SSHServer.with(options: ["MaxStartups 1:100:1"]) { server in
        let jump = try await harness.jump("bastion", server)
        try await withThrowingTaskGroup(of: Connection.self) { group in
          for _ in 0..<20 { group.addTask { try await harness.behind(jump).connection() } }
          for try await connection in group { await connection.close() }
        }
        #expect(server.acceptedCount == 1)
        #expect(harness.server.acceptedCount == 20)
        #expect(drops(harness.server) + drops(server) == [])
      }
    }
  }

  @Test("A server that turns us away is left alone before the next connection begins")
  func turnedAway() async throws {
    let stall = try await StallServer(.penalty)
    try await Harness.with(connects: .init()) { harness in
      let clock = ContinuousClock()
      let started = clock.now
      for _ in 0..<2 {
        let error = await failure { try await harness.connector(port: stall.port).connect() }
        #expect(error?.code == .refusedByPolicy)
      }
      #expect(clock.now - started >= .seconds(1))
    }
    await stall.process.stop()
  }

  @Test("The last descriptors are not for targets")
  func reserve() throws {
    var limit = rlimit()
    #expect(getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0)
    let last = Int32(clamping: limit.rlim_cur)
    #expect(!TCPSocket.isReserved(3))
    #expect(!TCPSocket.isReserved(last - 33))
    #expect(TCPSocket.isReserved(last - 32))
    #expect(TCPSocket.isReserved(last - 1))
  }
}
