import Foundation
import Model
import Notifications
import Storage
import TestKit
import Testing

@Suite("The lease of a delivery under way")
struct LeaseKeepingTests {
  @Test("an extension that failed is tried again after a second, not after the next third")
  func extendedAgain() async throws {
    let office = Office { _, _ in
      await Doorbell().wait(after: 0)
      return .again(after: nil, answer: "broken off", isUnknown: false)
    }
    let line = BrokenLine(office.storage)
    var context = office.context
    context.storage = line
    let worker = QueueWorker(context, owner: "w")
    try await office.announce(.firing)
    let work = Task { try await worker.deliverNext() }
    try await office.clock.sleepers(atLeast: 2)
    await line.turn(isAway: true)
    for pause in [20, 1, 1] {
      office.clock.advance(by: .seconds(pause))
      try await office.clock.sleepers(atLeast: 2)
    }
    #expect(try await office.entries().first?.lease_until == Office.opening.addingTimeInterval(60))
    await line.turn(isAway: false)
    for (pause, until) in [(1, 83), (19, 83), (1, 103)] {
      office.clock.advance(by: .seconds(pause))
      try await office.clock.sleepers(atLeast: 2)
      #expect(try await office.entries().first?.lease_until == Office.opening.addingTimeInterval(Double(until)))
    }
    work.cancel()
    try await office.clock.sleepers(atLeast: 3)
    office.clock.advance(by: .seconds(8))
    #expect(try await work.value)
  }
}
