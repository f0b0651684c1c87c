package import Model
package import Remote

/// The vital figures of a host.
package enum Vitals {}

extension Vitals {
  /// Where processor time went since the last reading, and the load.
  ///
  /// `percent user nice system idle iowait irq softirq steal load1 load5 load15 cores`; percent = 100 − idle − iowait.
  /// A column that an old kernel lacks is left out. The first reading has nothing to compare with, so a second follows
  /// a quarter of a second later; the same after a reboot.
  package struct CPU: Metric {
    package static let name = "Vitals.CPU"
    package static let options: Set<String> = []
    static let warmUp: Duration = .milliseconds(250)

    private static let asked: [Question] = [.read(path: "/proc/stat"), .read(path: "/proc/loadavg", limit: 256)]
    private var last: ProcStat?
    /// The last reading ended with a look that had to be repeated.
    private var isWarmingUp = false

    package init(plan: MetricPlan) throws(MetricRefused) {}

    package var needs: [Question] { Self.asked }

    package mutating func questions(_ host: HostFacts?) -> [Question] { Self.asked }

    package mutating func gathered(from answers: [Answer], at moment: Moment) -> [Gathered] {
      let answers = Answers(answers, to: Self.asked)
      do {
        let stat = try ProcStat.parse(try answers.file("/proc/stat"))
        let load = try LoadAverage.parse(try answers.file("/proc/loadavg"))
        let previous = last
        last = stat
        guard let previous else { return [lookAgain(orSay: "")] }
        switch stat.change(since: previous) {
        case .shares(let shares):
          isWarmingUp = false
          return [.value(Self.value(shares, load, stat.cores))]
        case .reset: return [lookAgain(orSay: "/proc/stat: the counters of the line \"cpu\" went back twice")]
        case .still: return [lookAgain(orSay: "/proc/stat: no processor time passed between two readings")]
        }
      } catch {
        last = nil
        isWarmingUp = false
        return [.error(error.message)]
      }
    }

    private mutating func lookAgain(orSay message: String) -> Gathered {
      if isWarmingUp {
        isWarmingUp = false
        return .error(message)
      }
      isWarmingUp = true
      return .again(after: Self.warmUp)
    }

    private static func value(_ shares: [Double], _ load: LoadAverage, _ cores: Int) -> Value {
      var fields: [String: Value] = [
        "load1": .double(load.one), "load5": .double(load.five), "load15": .double(load.fifteen),
        "cores": .int(Int64(cores)),
      ]
      for (name, share) in zip(ProcStat.names, shares) { fields[name] = .double(rounded(share)) }
      let waiting = shares.indices.contains(4) ? shares[4] : 0
      fields["percent"] = .double(rounded(max(0, 100 - shares[3] - waiting)))
      return .object(fields)
    }
  }
}
