package import Model
package import Remote

extension Vitals {
  /// Memory: `total used free available buffers cached slab` in bytes and `percent` = (total − available) / total.
  ///
  /// `used` is total − available: what programs hold and cannot be had otherwise.
  package struct RAM: Metric {
    package static let name = "Vitals.RAM"
    package static let options: Set<String> = []

    private static let asked: [Question] = [.read(path: "/proc/meminfo", limit: 64 << 10)]

    package init(plan: MetricPlan) throws(MetricRefused) {}

    package var needs: [Question] { Self.asked }

    package mutating func questions(_ host: HostFacts?) -> [Question] { Self.asked }

    package mutating func gathered(from answers: [Answer], at moment: Moment) -> [Gathered] {
      do {
        return [.value(try Self.value(ProcMeminfo.parse(try Answers(answers, to: Self.asked).file("/proc/meminfo"))))]
      } catch {
        return [.error(error.message)]
      }
    }

    static func value(_ memory: ProcMeminfo) throws(Unreadable) -> Value {
      let total = try memory.bytes("MemTotal")
      let free = try memory.bytes("MemFree")
      let available = try memory.available()
      guard total > 0 else { throw Unreadable("/proc/meminfo: MemTotal is 0") }
      guard free <= total, available <= total else {
        throw Unreadable("/proc/meminfo: more memory is free than there is in all")
      }
      var fields: [String: Value] = [
        "total": .int(total), "used": .int(total - available), "free": .int(free), "available": .int(available),
        "buffers": .int(try memory.bytes("Buffers")), "cached": .int(try memory.bytes("Cached")),
        "percent": .double(rounded(Double(total - available) / Double(total) * 100)),
      ]
      // Containers that show a meminfo of their own may leave it out.
      fields["slab"] = memory.bytesIfPresent("Slab").map(Value.int)
      return .object(fields)
    }
  }
}
