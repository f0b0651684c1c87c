internal import Foundation
internal import Model

/// Samples that look like real vitals: figures that move a little from one to the next.
struct VitalsSamples {
  let samples: [Sample]
  /// Numbers in their values.
  let numbers: Int

  /// Four series for each target; `count` samples in all.
  init(targets: Int, count: Int, every seconds: Double, prefix: String = "", seed: UInt64 = 1) {
    var state = seed
    // A small linear congruential generator: the same figures in every run.
    func random() -> Double {
      state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
      return Double(state >> 11) / Double(1 << 53)
    }
    func percent(_ middle: Double) -> Value { .double(((middle + random() * 10) * 10).rounded() / 10) }
    func bytes(_ middle: Int64) -> Value { .int(middle + Int64(random() * 1e8) / 4096 * 4096) }
    let start = 1_795_248_000.0
    var made: [Sample] = []
    made.reserveCapacity(count)
    var tick = 0
    while made.count < count {
      for target in 0..<targets where made.count < count {
        let name = "\(prefix)web-\(target)"
        let at = Date(timeIntervalSince1970: start + Double(tick) * seconds + Double(target % 1000) / 1000)
        let values: [(String, Value)] = [
          (
            "Vitals.CPU",
            [
              "percent": percent(20), "user": percent(12), "nice": 0.0, "system": percent(4), "idle": percent(78),
              "iowait": percent(0), "irq": 0.0, "softirq": percent(0), "steal": 0.0,
              "load1": .double((random() * 400).rounded() / 100), "load5": .double((random() * 300).rounded() / 100),
              "load15": .double((random() * 200).rounded() / 100), "cores": 4,
            ]
          ),
          (
            "Vitals.RAM",
            [
              "total": 8_335_060_992, "used": bytes(3_000_000_000), "free": bytes(1_000_000_000),
              "available": bytes(4_500_000_000), "buffers": bytes(200_000_000), "cached": bytes(3_000_000_000),
              "slab": bytes(400_000_000), "percent": percent(40),
            ]
          ),
          (
            "Vitals.Swap",
            [
              "total": 2_147_479_552, "used": bytes(0), "free": bytes(2_000_000_000), "percent": percent(0),
              "in_per_second": 0.0, "out_per_second": 0.0,
            ]
          ),
          (
            "Vitals.Disk",
            .array(
              ["/", "/var", "/home"].map { mount in
                [
                  "mount": .string(mount), "device": .string("/dev/mapper/vg0\(mount)"), "fstype": "ext4",
                  "size": 52_521_566_208, "used": bytes(20_000_000_000), "available": bytes(30_000_000_000),
                  "percent": percent(40), "inodes": 3_276_800, "inodes_used": bytes(200_000),
                  "inodes_percent": percent(5),
                ]
              })
          ),
        ]
        for (metric, value) in values where made.count < count {
          made.append(Sample(series: Series(target: name, metric: metric), at: at, value: value))
        }
      }
      tick += 1
    }
    samples = made
    numbers = made.reduce(0) { sum, sample in
      sum + (sample.value.map { SampleShape.flatten($0).count { $0.value.number != nil } } ?? 0)
    }
  }

  /// One document a line.
  func write(to path: String) throws -> Int {
    var text = ""
    for sample in samples { text += sample.document.json() + "\n" }
    try text.write(toFile: path, atomically: true, encoding: .utf8)
    return text.utf8.count
  }
}
