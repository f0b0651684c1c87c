internal import FoundationEssentials
package import Model
package import Remote

/// Who the host is and since when: `{boot_id uptime_seconds clock_skew_ms}`, and one event for each reboot.
///
/// `clock_skew_ms` is positive when the host's clock is ahead. It is found without running a program, from the second
/// of the boot (`btime` of /proc/stat, cut to whole seconds by the kernel) plus the uptime, so it is rounded to whole
/// seconds and may be wrong by one; it is left out when the answer was under way for more than two seconds. The
/// event's value has `reboot: true` and the `previous_boot_id`.
package struct Host: Metric {
  package static let name = "Host"
  package static let options: Set<String> = []

  private static let always: [Question] = [
    .read(path: "/proc/sys/kernel/random/boot_id", limit: 256), .read(path: "/proc/uptime", limit: 256),
    .read(path: "/proc/stat"), .read(path: "/proc/loadavg", limit: 256),
  ]
  /// What a look asks, but for the one in an hour that asks what the host is.
  static let demand = TouchDemand(always)
  /// Asked once for each boot and once an hour: these change when an administrator changes them.
  private static let seldom: [Question] = [
    .read(path: "/etc/os-release", limit: 16 << 10), .read(path: "/proc/sys/kernel/osrelease", limit: 256),
    .read(path: "/proc/meminfo", limit: 64 << 10), smaps,
    .run(Command(["df", "-Pk", "/"], deadline: Vitals.Disk.deadline)),
  ]
  /// The beginning is enough; the whole may be long.
  private static let smaps: Question = .read(path: "/proc/self/smaps", limit: 1024)
  private static let factsLast = 3600.0
  private static let longestWay: Duration = .seconds(2)

  /// The boot that was last seen; nil before the first answer ever.
  private var bootID: String?
  /// Uptime at which the facts were asked for.
  private var factsAt: Double?
  private var asked: [Question] = []

  package init(plan: MetricPlan) throws(MetricRefused) {}

  /// - Parameter bootID: the boot known from an earlier life, so that a reboot in between is still seen.
  package init(bootID: String?) { self.bootID = bootID }

  package var needs: [Question] { Self.always + Self.seldom }

  package mutating func questions(_ host: HostFacts?) -> [Question] {
    asked = factsAt == nil ? Self.always + Self.seldom : Self.always
    return asked
  }

  package mutating func gathered(from answers: [Answer], at moment: Moment) -> [Gathered] {
    let all = Answers(answers, to: asked)
    do {
      let bootID = try BootID.parse(try all.file("/proc/sys/kernel/random/boot_id"))
      let uptime = try Uptime.parse(try all.file("/proc/uptime"))
      let stat = try ProcStat.parse(try all.file("/proc/stat"))
      var fields: [String: Value] = ["boot_id": .string(bootID), "uptime_seconds": .double(rounded(uptime))]
      fields["clock_skew_ms"] = Self.skew(stat.bootTime, uptime, moment).map(Value.int)
      var readings: [Gathered] = []
      if let previous = self.bootID, previous != bootID {
        var event = fields
        event["reboot"] = true
        event["previous_boot_id"] = .string(previous)
        readings.append(.event(.object(event)))
        factsAt = nil
      }
      self.bootID = bootID
      readings.append(.value(.object(fields)))
      if let load = try? LoadAverage.parse(try all.file("/proc/loadavg")) {
        readings.append(.load(load.one / Double(max(1, stat.cores))))
      }
      if asked.count > Self.always.count {
        readings.append(.facts(Self.facts(all, answers, stat, bootID)))
        factsAt = uptime
      } else if let factsAt, uptime - factsAt >= Self.factsLast || uptime < factsAt {
        self.factsAt = nil
      }
      return readings
    } catch {
      return [.error(error.message)]
    }
  }

  /// Whole seconds, in milliseconds. nil: the host does not tell, or the answer is too old to say.
  static func skew(_ bootTime: UInt64?, _ uptime: Double, _ moment: Moment) -> Int64? {
    guard let bootTime, bootTime < 100_000_000_000, moment.latency <= longestWay else { return nil }
    let monitor = moment.at.timeIntervalSince1970 - (moment.latency / .seconds(1)) / 2
    // The kernel cut off, on average, half a second.
    let seconds = (Double(bootTime) + 0.5 + uptime - monitor).rounded()
    guard seconds.isFinite, abs(seconds) < 1e12 else { return nil }
    return Int64(exactly: seconds * 1000)
  }

  private static func facts(_ all: Answers, _ answers: [Answer], _ stat: ProcStat, _ bootID: String) -> HostFacts {
    var facts = HostFacts()
    facts.os = (try? all.file("/etc/os-release")).flatMap(OSRelease.parse)
    facts.kernel = (try? all.file("/proc/sys/kernel/osrelease")).flatMap(OSRelease.line)
    facts.cpuCores = stat.cores
    let memory = (try? all.file("/proc/meminfo")).map(ProcMeminfo.parse)
    facts.ram = memory?.bytesIfPresent("MemTotal")
    facts.swap = memory?.bytesIfPresent("SwapTotal")
    if case .result(let result)? = answers.last,
      let row = try? DiskTable.parse(result.output[...], mounts: MountTable()).rows.first, let total = row.total
    {
      let (bytes, isTooLarge) = total.multipliedReportingOverflow(by: 1024)
      facts.disk = isTooLarge ? nil : bytes
    }
    if case .content(let bytes, _)? = all.answer(to: smaps) { facts.pageSize = PageSize.parse(bytes) }
    facts.bootID = bootID
    return facts
  }
}
