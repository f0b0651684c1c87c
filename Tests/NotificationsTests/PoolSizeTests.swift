import Foundation
import Notifications
import Testing

@Suite struct PoolSizeTests {
  @Test(
    "one worker more for every ten due messages, within the bounds",
    arguments: [
      (0, 0, 1, 8, 1), (1, 0, 1, 8, 1), (10, 0, 1, 8, 1), (11, 0, 1, 8, 2), (70, 0, 1, 8, 7), (1000, 0, 1, 8, 8),
      (.max, .max, 1, 8, 8), (1, 1, 1, 8, 2), (0, 3, 1, 8, 3), (5, 8, 1, 8, 8), (0, 0, 4, 8, 4), (-5, -5, 2, 4, 2),
    ])
  func desired(due: Int, busy: Int, workers: Int, maximum: Int, expected: Int) {
    #expect(PoolSize.desiredWorkers(due: due, busy: busy, workers: workers, max: maximum) == expected)
  }

  @Test("the pool grows at once and shrinks only after half a minute of quiet")
  func adapts() {
    var pool = PoolSize(workers: 1, maximum: 8)
    let start = Date(timeIntervalSince1970: 0)
    let steps: [(second: Double, due: Int, busy: Int)] = [
      (0, 1000, 0), (1, 500, 8), (2, 0, 0), (20, 0, 0), (31, 0, 0), (32, 0, 0), (33, 25, 0),
      (40, 0, 0), (50, 25, 0), (60, 0, 0), (89, 0, 0), (90, 0, 0),
    ]
    let sizes = steps.map { pool.adapt(due: $0.due, busy: $0.busy, at: start.addingTimeInterval($0.second)) }
    #expect(sizes == [8, 8, 8, 8, 8, 1, 3, 3, 3, 3, 3, 1])
  }

  @Test("figures that make no sense are mended")
  func bounds() {
    #expect([PoolSize(workers: 0, maximum: 0)].map { [$0.workers, $0.maximum] } == [[1, 1]])
    #expect([PoolSize(workers: 9, maximum: 2)].map { [$0.workers, $0.maximum] } == [[9, 9]])
    #expect([PoolSize(workers: 1, maximum: .max)].map { [$0.workers, $0.maximum] } == [[1, 64]])
  }
}
