internal import Foundation
internal import TestKit
internal import Testing

@testable internal import Gateway

@Suite struct GuessLimiterTests {
  private func digest(_ number: Int) -> Data { Data("\(number)".utf8) }

  @Test("Failures are counted by address and forgotten after a minute")
  func window() {
    var limiter = GuessLimiter()
    for guess in 0..<10 {
      #expect(limiter.judge("a", digest: digest(guess), isRight: false, now: .seconds(guess)) == nil)
    }
    #expect(limiter.judge("a", digest: digest(10), isRight: false, now: .seconds(20)) == .seconds(40))
    #expect(limiter.judge("a", digest: digest(99), isRight: true, now: .seconds(20)) == .seconds(40))
    #expect(limiter.judge("b", digest: digest(99), isRight: true, now: .seconds(20)) == nil)
    #expect(limiter.judge("a", digest: digest(99), isRight: true, now: .seconds(60)) == nil)
  }

  @Test("No minute has more than ten different guesses that were judged, however they are mixed")
  func bound() {
    var limiter = GuessLimiter()
    var random = SystemRandomNumberGenerator()
    var judged: [(at: Int, guess: Int)] = []
    for second in 0..<600 {
      for _ in 0..<5 {
        let guess = Int.random(in: 0..<100_000, using: &random)
        let isNew = !judged.contains { $0.guess == guess && second - $0.at < 60 }
        // Old ones between the new must not push the new ones out of memory.
        _ = judged.last.map { limiter.judge("a", digest: digest($0.guess), isRight: false, now: .seconds(second)) }
        let isJudged = limiter.judge("a", digest: digest(guess), isRight: false, now: .seconds(second)) == nil
        if isJudged, isNew { judged.append((second, guess)) }
      }
    }
    #expect(!judged.isEmpty)
    for start in 0..<600 {
      #expect(judged.count { $0.at >= start && $0.at < start + 60 } <= 10)
    }
  }

  @Test("A right token leaves no trace, and the number of addresses is bounded")
  func addresses() {
    var limiter = GuessLimiter()
    #expect(limiter.judge("a", digest: digest(0), isRight: true, now: .zero) == nil)
    #expect(limiter.count == 0)
    for address in 0..<5000 { _ = limiter.judge("\(address)", digest: digest(0), isRight: false, now: .zero) }
    #expect(limiter.count == GuessLimiter.bound + 1)
    #expect(limiter.judge("x", digest: digest(1), isRight: false, now: .zero) != nil, "the others share one entry")
    #expect(limiter.judge("y", digest: digest(1), isRight: false, now: .seconds(60)) == nil)
    #expect(limiter.count == 1)
  }

  @Test("Of tokens and sessions at most 256 are kept, the newest")
  func sessions() async {
    let clock = ManualClock()
    let book = SessionBook(sessionLife: .seconds(60)) { clock.now.offset }
    let first = await book.makeToken()
    var last = first
    for _ in 0..<SessionBook.bound {
      clock.advance(by: .milliseconds(1))
      last = await book.makeToken()
    }
    #expect(await book.open(with: first, from: "a") == .refused)
    guard case .opened(let session) = await book.open(with: last, from: "a") else {
      Issue.record("the newest token opened nothing")
      return
    }
    #expect(await book.isLive(session))
    #expect(await !book.isLive(session + "0"))
  }

  @Test("The log hears of too many wrong tokens once a minute")
  func telling() async {
    let clock = ManualClock()
    let book = SessionBook(sessionLife: .seconds(60)) { clock.now.offset }
    var told: [Bool] = []
    for _ in 0..<4 {
      told.append(await book.isWorthTelling())
      clock.advance(by: .seconds(30))
    }
    #expect(told == [true, false, true, false])
  }
}
