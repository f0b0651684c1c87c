internal import Storage
internal import Testing

/// The decisions of one lease, with time and answers as plain values.
@Suite struct LeaseLogicTests {
  private static func seconds(_ count: Double) -> Duration { .seconds(count) }

  private static func lease(_ owner: String, epoch: Int64 = 1, beat: Int64 = 1, ttl: Int = 30) -> Lease {
    Lease(name: "gathering", owner: owner, epoch: epoch, beat: beat, ttl: ttl)
  }

  private static func logic(_ owner: String = "a") -> LeaseLogic { LeaseLogic(name: "gathering", owner: owner) }

  /// A holder whose lease was put at 0 s.
  private static func holder() -> LeaseLogic {
    var logic = logic()
    logic.looked(nil, sent: .zero, at: .zero)
    guard case .put(let lease, let expected) = logic.step(at: .zero) else { return logic }
    _ = logic.answered(lease, to: lease, expecting: expected, sent: .zero, at: .zero)
    return logic
  }

  /// Lets the logic look every 2 s from `start` on, always seeing `lease`, until it wants to put something.
  private static func watch(
    _ logic: inout LeaseLogic, _ lease: Lease, from start: Double, upTo end: Double
  ) -> (at: Double, step: LeaseLogic.Step)? {
    var time = start
    while time <= end {
      let now = seconds(time)
      switch logic.step(at: now) {
      case .wait: break
      case .look:
        logic.looked(lease, sent: now, at: now)
        if case .put = logic.step(at: now) { return (time, logic.step(at: now)) }
      case .put: return (time, logic.step(at: now))
      }
      time += 0.5
    }
    return nil
  }

  @Test("Where nothing stands the lease is taken at once, with epoch 1, and trusted 22 s from before it was sent")
  func first() {
    var logic = Self.logic()
    #expect(logic.state(at: .zero) == .unknown)
    #expect(logic.step(at: .zero) == .look)
    logic.looked(nil, sent: .zero, at: .seconds(1))
    #expect(logic.state(at: .seconds(1)) == .standby(holder: nil))
    let wanted = Self.lease("a")
    #expect(logic.step(at: .seconds(1)) == .put(wanted, expecting: nil))
    let event = logic.answered(wanted, to: wanted, expecting: nil, sent: .seconds(1), at: .seconds(3))
    #expect(event == .took(from: nil))
    #expect(logic.state(at: .seconds(3)) == .holding(epoch: 1))
    #expect(logic.trustEnd(at: .seconds(3)) == .seconds(23))
    #expect(logic.state(at: .seconds(22.9)) == .holding(epoch: 1))
    #expect(logic.state(at: .seconds(23)) == .holdingUnconfirmed(epoch: 1))
    #expect(logic.step(at: .seconds(3)) == .wait(until: .seconds(9)))
    #expect(logic.step(at: .seconds(9)) == .put(Self.lease("a", beat: 2), expecting: wanted))
  }

  @Test("A slow successful renewal does not extend trust")
  func slowSuccess() {
    var logic = Self.holder()
    let put = Self.lease("a", beat: 2)
    #expect(logic.step(at: .seconds(8)) == .put(put, expecting: Self.lease("a")))
    // Sent at 8, answered at 31: it counts from 8.
    let event = logic.answered(put, to: put, expecting: Self.lease("a"), sent: .seconds(8), at: .seconds(31))
    #expect(event == .renewed)
    #expect(logic.state(at: .seconds(31)) == .holdingUnconfirmed(epoch: 1))
    #expect(logic.step(at: .seconds(31)) == .put(Self.lease("a", beat: 3), expecting: put))
  }

  @Test("Renewals without an answer exhaust trust, and the next answer decides: still ours, or lost at once")
  func resigns() {
    var logic = Self.holder()
    var time = 8.0
    while time < 60 {
      let step = logic.step(at: Self.seconds(time))
      guard case .put = step else {
        Issue.record("\(step) at \(time)")
        return
      }
      logic.failed(step, at: Self.seconds(time))
      #expect(
        logic.state(at: Self.seconds(time))
          == (time < 22 ? .holding(epoch: 1) : .holdingUnconfirmed(epoch: 1)))
      time += 2
    }
    var kept = logic
    let put = Self.lease("a", beat: 2)
    #expect(kept.step(at: .seconds(60)) == .put(put, expecting: Self.lease("a")))
    _ = kept.answered(put, to: put, expecting: Self.lease("a"), sent: .seconds(60), at: .seconds(60))
    #expect(kept.state(at: .seconds(60)) == .holding(epoch: 1))

    let other = Self.lease("b", epoch: 2, beat: 2)
    let event = logic.answered(other, to: put, expecting: Self.lease("a"), sent: .seconds(60), at: .seconds(60))
    #expect(event == .lost(.taken))
    #expect(logic.state(at: .seconds(60)) == .standby(holder: "b"))
    #expect(logic.step(at: .seconds(60)) == .wait(until: .seconds(62)))
  }

  @Test(
    "Another life under the same name that replaced our epoch is another holder; a lost one and a free one are gone")
  func sameOwnerReplaced() {
    for (stands, loss) in [
      (Self.lease("a", epoch: 2, beat: 9), LeaseLogic.Loss.replaced), (Self.lease("", beat: 9), .gone), (nil, .gone),
    ] {
      var logic = Self.holder()
      let put = Self.lease("a", beat: 2)
      let event = logic.answered(stands, to: put, expecting: Self.lease("a"), sent: .seconds(8), at: .seconds(8))
      #expect(event == .lost(loss))
      #expect(logic.mine == nil)
    }
    // And it is not adopted afterwards, whatever its name: its beat is watched as anybody's.
    var logic = Self.holder()
    let twin = Self.lease("a", epoch: 2, beat: 9)
    _ = logic.answered(
      twin, to: Self.lease("a", beat: 2), expecting: Self.lease("a"), sent: .seconds(8), at: .seconds(8))
    let taken = Self.watch(&logic, twin, from: 10, upTo: 100)
    #expect(taken?.step == .put(Self.lease("a", epoch: 3, beat: 10), expecting: twin))
    #expect((38...42).contains(taken?.at ?? 0), "\(String(describing: taken))")
  }

  @Test("A renewal whose answer was lost is found again and extends nothing by itself")
  func lostAnswer() {
    var logic = Self.holder()
    let sent = logic.step(at: .seconds(8))
    logic.failed(sent, at: .seconds(13))
    let stands = Self.lease("a", beat: 2)
    let event = logic.answered(stands, to: stands, expecting: Self.lease("a"), sent: .seconds(15), at: .seconds(15))
    // The store answers the same put once more: what stands is what was wanted.
    #expect(event == .renewed)
    var other = Self.holder()
    other.failed(other.step(at: .seconds(8)), at: .seconds(13))
    other.failed(other.step(at: .seconds(15)), at: .seconds(20))
    let further = Self.lease("a", beat: 7)
    #expect(
      other.answered(further, to: stands, expecting: Self.lease("a"), sent: .seconds(21), at: .seconds(21)) == .nothing)
    #expect(other.state(at: .seconds(22)) == .holdingUnconfirmed(epoch: 1))
    #expect(other.step(at: .seconds(22)) == .put(Self.lease("a", beat: 8), expecting: further))
  }

  @Test("Taking whose answer was lost is seen at the next look, and counts only once it is renewed")
  func lostTaking() {
    var logic = Self.logic("b")
    let free = Self.lease("", epoch: 4, beat: 20)
    logic.looked(free, sent: .zero, at: .zero)
    let put = Self.lease("b", epoch: 5, beat: 21)
    #expect(logic.step(at: .zero) == .put(put, expecting: free))
    logic.failed(.put(put, expecting: free), at: .seconds(5))
    #expect(logic.state(at: .seconds(5)) == .standby(holder: nil))
    #expect(logic.step(at: .seconds(7)) == .look)
    logic.looked(put, sent: .seconds(7), at: .seconds(7))
    #expect(logic.state(at: .seconds(7)) == .standby(holder: "b"))
    let next = Self.lease("b", epoch: 5, beat: 22)
    #expect(logic.step(at: .seconds(7)) == .put(next, expecting: put))
    #expect(logic.answered(next, to: next, expecting: put, sent: .seconds(7), at: .seconds(7)) == .took(from: nil))
    #expect(logic.state(at: .seconds(7)) == .holding(epoch: 5))
  }

  @Test("A challenger takes over only after 30 s of the same beat, and any renewal begins the count anew")
  func challenger() {
    var logic = Self.logic("b")
    logic.looked(Self.lease("a", beat: 1), sent: .zero, at: .zero)
    #expect(logic.state(at: .zero) == .standby(holder: "a"))
    #expect(Self.watch(&logic, Self.lease("a", beat: 1), from: 0, upTo: 28) == nil)
    let taken = Self.watch(&logic, Self.lease("a", beat: 2), from: 28, upTo: 100)
    #expect((58...62).contains(taken?.at ?? 0), "\(String(describing: taken))")
    #expect(taken?.step == .put(Self.lease("b", epoch: 2, beat: 3), expecting: Self.lease("a", beat: 2)))
  }

  @Test("Two challengers: the one that comes second sees the first and begins to count anew")
  func competing() {
    var second = Self.logic("c")
    let old = Self.lease("a", beat: 5)
    guard let (at, step) = Self.watch(&second, old, from: 0, upTo: 100), case .put(let put, let expected) = step else {
      Issue.record("it never wanted it")
      return
    }
    let winner = Self.lease("b", epoch: 2, beat: 6)
    let now = Duration.seconds(at)
    #expect(second.answered(winner, to: put, expecting: expected, sent: now, at: now) == .nothing)
    #expect(second.state(at: now) == .standby(holder: "b"))
    #expect(Self.watch(&second, winner, from: at + 2, upTo: at + 29) == nil)
  }

  @Test("Time in which the store did not answer, or nobody looked, does not count against the holder")
  func absentStore() {
    var logic = Self.logic("b")
    let held = Self.lease("a")
    #expect(Self.watch(&logic, held, from: 0, upTo: 20) == nil)
    // Away from 20 to 300; back, the holder has not had the time to renew.
    logic.failed(.look, at: .seconds(25))
    logic.looked(held, sent: .seconds(300), at: .seconds(300))
    #expect(logic.step(at: .seconds(300)) == .wait(until: .seconds(302)))
    let taken = Self.watch(&logic, held, from: 302, upTo: 400)
    #expect((308...314).contains(taken?.at ?? 0), "\(String(describing: taken))")

    // A process that was stopped for five minutes counts three looks of it.
    var stopped = Self.logic("b")
    stopped.looked(held, sent: .zero, at: .zero)
    stopped.looked(held, sent: .seconds(300), at: .seconds(300))
    #expect(stopped.step(at: .seconds(300)) == .wait(until: .seconds(302)))
    #expect((322...328).contains(Self.watch(&stopped, held, from: 302, upTo: 400)?.at ?? 0))
  }

  @Test("A longer time to live of the holder is respected, an absurd one only up to ten minutes")
  func otherTTL() {
    var logic = Self.logic("b")
    #expect((60...64).contains(Self.watch(&logic, Self.lease("a", ttl: 60), from: 0, upTo: 700)?.at ?? 0))
    var other = Self.logic("b")
    #expect((600...604).contains(Self.watch(&other, Self.lease("a", ttl: .max), from: 0, upTo: 700)?.at ?? 0))
    var third = Self.logic("b")
    #expect((30...34).contains(Self.watch(&third, Self.lease("a", ttl: .min), from: 0, upTo: 700)?.at ?? 0))
  }

  @Test("A lease that was given back is free, and is taken at the next look with the next epoch")
  func release() {
    let holder = Self.holder()
    let free = Self.lease("", beat: 2)
    #expect(holder.release?.lease == free)
    #expect(holder.release?.expecting == Self.lease("a"))
    var next = Self.logic("b")
    next.looked(free, sent: .zero, at: .zero)
    #expect(next.step(at: .zero) == .put(Self.lease("b", epoch: 2, beat: 3), expecting: free))
  }

  @Test("What a process held that is known to have ended is taken at once; anybody else's is not")
  func predecessor() {
    let held = Self.lease("former", epoch: 3, beat: 7)
    var logic = LeaseLogic(name: "gathering", owner: "a", hasEnded: { $0 == "former" })
    logic.looked(held, sent: .zero, at: .zero)
    let put = Self.lease("a", epoch: 4, beat: 8)
    #expect(logic.step(at: .zero) == .put(put, expecting: held))
    #expect(logic.answered(put, to: put, expecting: held, sent: .zero, at: .zero) == .took(from: nil))
    var other = LeaseLogic(name: "gathering", owner: "a", hasEnded: { $0 == "former" })
    other.looked(Self.lease("b", epoch: 3, beat: 7), sent: .zero, at: .zero)
    #expect(other.step(at: .zero) == .wait(until: .seconds(2)))
  }

  @Test("A deleted lease begins behind the highest epoch that was seen, and an epoch that is too low is outbid")
  func epochs() {
    var logic = Self.logic("b")
    logic.looked(Self.lease("a", epoch: 7), sent: .zero, at: .zero)
    logic.looked(nil, sent: .seconds(2), at: .seconds(2))
    guard case .put(let put, nil) = logic.step(at: .seconds(2)) else {
      Issue.record("not taken")
      return
    }
    #expect(put.epoch == 8)
    _ = logic.answered(put, to: put, expecting: nil, sent: .seconds(2), at: .seconds(2))
    logic.outbid(3, at: .seconds(3))
    #expect(logic.step(at: .seconds(3)) == .wait(until: .seconds(10)))
    logic.outbid(8, at: .seconds(3))
    var higher = put
    higher.epoch = 17
    higher.beat += 1
    #expect(logic.step(at: .seconds(3)) == .put(higher, expecting: put))
    #expect(logic.answered(higher, to: higher, expecting: put, sent: .seconds(3), at: .seconds(3)) == .renewed)
    #expect(logic.state(at: .seconds(3)) == .holding(epoch: 17))
    logic.doubt(at: .seconds(4))
    #expect(logic.step(at: .seconds(4)) != .wait(until: .seconds(11)))
  }

  @Test("A lease that is given back is left to others for a while, and taken again when none of them wants it")
  func givenBack() {
    var logic = Self.holder()
    logic.giveBack(abstaining: .seconds(60), at: .seconds(3))
    let free = Self.lease("", beat: 2)
    #expect(logic.step(at: .seconds(3)) == .put(free, expecting: Self.lease("a")))
    // Without an answer it is still to be given back.
    logic.failed(.put(free, expecting: Self.lease("a")), at: .seconds(4))
    #expect(logic.step(at: .seconds(6)) == .put(free, expecting: Self.lease("a")))
    let event = logic.answered(free, to: free, expecting: Self.lease("a"), sent: .seconds(6), at: .seconds(6))
    #expect(event == .gaveBack)
    #expect(logic.state(at: .seconds(6)) == .standby(holder: nil))
    #expect(Self.watch(&logic, free, from: 6, upTo: 65) == nil)
    let taken = Self.watch(&logic, free, from: 65, upTo: 70)
    #expect(taken?.step == .put(Self.lease("a", epoch: 2, beat: 3), expecting: free))
  }

  @Test("A holder that was seen to renew its lease counts as alive until it misses a renewal")
  func livingHolder() {
    var logic = Self.logic("b")
    func look(_ lease: Lease?, _ second: Double) -> Bool {
      logic.looked(lease, sent: Self.seconds(second), at: Self.seconds(second))
      return logic.hasLivingHolder
    }
    #expect(!look(Self.lease("a"), 0))
    #expect(!look(Self.lease("a"), 2))
    #expect(look(Self.lease("a", beat: 2), 4))
    for second in stride(from: 6.0, through: 16, by: 2) { #expect(look(Self.lease("a", beat: 2), second)) }
    // The store does not answer: that is nobody's silence.
    logic.failed(.look, at: .seconds(100))
    #expect(logic.hasLivingHolder)
    #expect(look(Self.lease("a", beat: 2), 200))
    #expect(!look(Self.lease("a", beat: 2), 202))
    #expect(look(Self.lease("a", beat: 3), 204))
    #expect(!look(Self.lease("c", epoch: 2, beat: 4), 206))
    #expect(look(Self.lease("c", epoch: 2, beat: 5), 208))
    #expect(!look(Self.lease("", epoch: 2, beat: 6), 210))
    #expect(!Self.holder().hasLivingHolder)
  }
}
