package import Model
package import Remote

extension Vitals {
  /// Swap: `total used free` in bytes, `percent` = used / total, `in_per_second out_per_second` in bytes.
  ///
  /// A host without swap is known to use none of it: total 0 and percent 0. Rates need two readings of one boot, so the
  /// first sample, and the first after a reboot, has none; nor has one
  /// with traffic while the size of a page is not known.
  package struct Swap: Metric {
    package static let name = "Vitals.Swap"
    package static let options: Set<String> = []

    private static let asked: [Question] = [
      .read(path: "/proc/meminfo", limit: 64 << 10), .read(path: "/proc/vmstat", limit: 64 << 10),
      .read(path: "/proc/uptime", limit: 256),
    ]

    private struct Counters {
      var pagesIn: UInt64
      var pagesOut: UInt64
      /// Seconds since boot, by the host's own clock, so that a slow network does not bend the rate.
      var uptime: Double
    }

    private var last: Counters?
    private var pageSize: Int64?

    package init(plan: MetricPlan) throws(MetricRefused) {}

    package var needs: [Question] { Self.asked }

    package mutating func questions(_ host: HostFacts?) -> [Question] {
      pageSize = host?.pageSize
      return Self.asked
    }

    package mutating func gathered(from answers: [Answer], at moment: Moment) -> [Gathered] {
      let answers = Answers(answers, to: Self.asked)
      do {
        let memory = ProcMeminfo.parse(try answers.file("/proc/meminfo"))
        let pages = ProcVmstat.parse(try answers.file("/proc/vmstat"))
        let uptime = try Uptime.parse(try answers.file("/proc/uptime"))
        return [.value(try value(memory, pages, uptime))]
      } catch {
        last = nil
        return [.error(error.message)]
      }
    }

    private mutating func value(
      _ memory: ProcMeminfo, _ pages: ProcVmstat, _ uptime: Double
    ) throws(Unreadable) -> Value {
      let total = try memory.bytes("SwapTotal")
      let free = try memory.bytes("SwapFree")
      guard free <= total else { throw Unreadable("/proc/meminfo: SwapFree exceeds SwapTotal") }
      var fields: [String: Value] = [
        "total": .int(total), "used": .int(total - free), "free": .int(free),
        "percent": .double(total == 0 ? 0 : rounded(Double(total - free) / Double(total) * 100)),
      ]
      guard let pagesIn = pages.swappedIn, let pagesOut = pages.swappedOut else {
        // A kernel built without swap has no such counters, and nothing to count.
        guard total == 0 else { throw Unreadable("/proc/vmstat has no readable lines \"pswpin\" and \"pswpout\"") }
        fields["in_per_second"] = 0.0
        fields["out_per_second"] = 0.0
        return .object(fields)
      }
      let now = Counters(pagesIn: pagesIn, pagesOut: pagesOut, uptime: uptime)
      let before = last
      last = now
      if let before, uptime > before.uptime, pagesIn >= before.pagesIn, pagesOut >= before.pagesOut {
        let seconds = uptime - before.uptime
        fields["in_per_second"] = rate(pagesIn - before.pagesIn, seconds)
        fields["out_per_second"] = rate(pagesOut - before.pagesOut, seconds)
      }
      return .object(fields)
    }

    /// No page is no byte, whatever the size of a page.
    private func rate(_ pages: UInt64, _ seconds: Double) -> Value? {
      if pages == 0 { return 0.0 }
      return pageSize.map { .double(rounded(Double(pages) * Double($0) / seconds)) }
    }
  }
}
