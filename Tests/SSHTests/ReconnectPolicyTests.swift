import Remote
import Testing

@Suite("When a target is tried again")
struct ReconnectPolicyTests {
  private let outage = RemoteError(.lost, phase: .connection, "gone")
  private let refusal = RemoteError(.authenticationFailed, phase: .authenticate, "no")

  @Test("Outages wait a random part of a bound that doubles up to a minute")
  func fullJitter() {
    var policy = ReconnectPolicy()
    let waits = (0..<9).map { policy.failed(outage, at: .seconds($0), random: 1) }
    #expect(waits == [1, 2, 4, 8, 16, 32, 60, 60, 60].map { Duration.seconds($0) })
    #expect(policy.failed(outage, at: .seconds(9), random: 0) == .zero)
    #expect(policy.failed(outage, at: .seconds(9), random: 0.5) == .seconds(30))
  }

  @Test("A random number out of range or none does no harm", arguments: [Double.nan, .infinity, -1, 2])
  func wildRandom(random: Double) {
    var policy = ReconnectPolicy()
    let wait = policy.failed(outage, at: .zero, random: random)
    #expect(wait >= .zero && wait <= .seconds(1))
  }

  @Test("A minute of health forgives; a shorter one does not")
  func health() {
    var policy = ReconnectPolicy()
    for second in 0..<5 { _ = policy.failed(outage, at: .seconds(second), random: 1) }
    policy.connected(at: .seconds(10))
    #expect(policy.failed(outage, at: .seconds(69), random: 1) == .seconds(32))
    policy.connected(at: .seconds(100))
    #expect(policy.failed(outage, at: .seconds(160), random: 1) == .seconds(1))
    #expect(policy.failed(nil, at: .seconds(161), random: 1) == .seconds(2))
  }

  @Test("Refused credentials are tried at most three times in any hour, whatever the jitter")
  func breaker() {
    for random in [0, 0.5, 1.0] {
      var policy = ReconnectPolicy()
      var now = Duration.zero
      var attempts: [Duration] = []
      for _ in 0..<30 {
        attempts.append(now)
        now += policy.failed(refusal, at: now, random: random)
      }
      #expect(attempts[1] >= .seconds(60))
      #expect(attempts[2] - attempts[1] >= .seconds(120))
      for index in 3..<attempts.count { #expect(attempts[index] - attempts[index - 3] >= .seconds(3600)) }
    }
  }

  @Test("A login that works resets the breaker")
  func breakerReset() {
    var policy = ReconnectPolicy()
    for second in 0..<3 { _ = policy.failed(refusal, at: .seconds(second), random: 0) }
    policy.connected(at: .seconds(4000))
    #expect(policy.failed(refusal, at: .seconds(4001), random: 0) == .seconds(60))
  }

  @Test("Untrusted host keys wait like refused credentials, from a minute to an hour")
  func hostKeys() {
    var policy = ReconnectPolicy()
    let changed = RemoteError(.hostKeyChanged, phase: .host_key, "changed")
    let waits = (0..<8).map { policy.failed(changed, at: .seconds($0), random: 0) }
    #expect(waits == [60, 120, 240, 480, 960, 1920, 3600, 3600].map { Duration.seconds($0) })
  }

  @Test("A server that turns us away by policy is not asked again at once")
  func policy() {
    var policy = ReconnectPolicy()
    let away = RemoteError(.refusedByPolicy, phase: .banner, "away")
    #expect(policy.failed(away, at: .zero, random: 1) == .seconds(16))
    #expect(policy.failed(away, at: .zero, random: 1) == .seconds(32))
  }
}
