internal import FoundationEssentials
internal import Model
internal import Remote
internal import Testing

@testable internal import Aggregation

@Suite("Metrics of /proc")
struct MetricTests {
  static let moment = Moment(at: Date(timeIntervalSince1970: 1_795_238_700))

  static func plan(_ name: String) -> MetricPlan { MetricPlan(metric: name, interval: .seconds(10)) }

  static func gather(
    _ metric: inout some Metric, _ files: [String: String], host: HostFacts? = nil, at moment: Moment = moment
  ) -> [Gathered] {
    let questions = metric.questions(host)
    return metric.gathered(from: Fixture.answers(questions, files.mapValues { Array($0.utf8) }), at: moment)
  }

  static func stat(_ ticks: String) -> [String: String] {
    [
      "/proc/stat": "cpu \(ticks)\ncpu0 \(ticks)\ncpu1 0 0 0 0\nbtime 1795237101\n",
      "/proc/loadavg": "0.26 0.33 0.17 1/97 9\n",
    ]
  }

  @Test("The first look at the processors asks for a second one, which gives the sample")
  func cpu() throws {
    var cpu = try Vitals.CPU(plan: Self.plan("Vitals.CPU"))
    #expect(Self.gather(&cpu, Self.stat("100 0 50 1000 10 0 5 0")) == [.again(after: .milliseconds(250))])
    #expect(
      Self.gather(&cpu, Self.stat("150 0 75 1100 20 5 10 5")) == [
        .value([
          "percent": 45.0, "user": 25.0, "nice": 0.0, "system": 12.5, "idle": 50.0, "iowait": 5.0, "irq": 2.5,
          "softirq": 2.5, "steal": 2.5, "load1": 0.26, "load5": 0.33, "load15": 0.17, "cores": 2,
        ])
      ])
  }

  @Test("After a reboot the processors are looked at twice; twice without progress is an error, not 0")
  func cpuReset() throws {
    var cpu = try Vitals.CPU(plan: Self.plan("Vitals.CPU"))
    _ = Self.gather(&cpu, Self.stat("100 0 50 1000"))
    _ = Self.gather(&cpu, Self.stat("200 0 50 1000"))
    #expect(Self.gather(&cpu, Self.stat("1 0 1 10")) == [.again(after: .milliseconds(250))])
    #expect(Self.gather(&cpu, Self.stat("2 0 1 11")).count == 1)
    #expect(Self.gather(&cpu, Self.stat("2 0 1 11")) == [.again(after: .milliseconds(250))])
    #expect(
      Self.gather(&cpu, Self.stat("2 0 1 11")) == [
        .error("/proc/stat: no processor time passed between two readings")
      ])
  }

  @Test("A file that is missing, empty, cut or garbage is an error that names it, for every metric")
  func errors() throws {
    var cpu = try Vitals.CPU(plan: Self.plan("Vitals.CPU"))
    #expect(
      Self.gather(&cpu, ["/proc/stat": "cpu 1 2 3 4\ncpu0 1\n"]) == [
        .error("/proc/loadavg could not be read: command: /proc/loadavg: No such file or directory")
      ])
    #expect(Self.gather(&cpu, ["/proc/stat": "", "/proc/loadavg": "0 0 0"]) == [.error("/proc/stat is empty")])
    #expect(cpu.gathered(from: [], at: Self.moment) == [.error("/proc/stat: no answer came")])
    #expect(
      cpu.gathered(from: [.content([1, 2], isTruncated: true), .content([1], isTruncated: false)], at: Self.moment)
        == [.error("/proc/stat was cut after 2 bytes")])
    var ram = try Vitals.RAM(plan: Self.plan("Vitals.RAM"))
    #expect(
      Self.gather(&ram, ["/proc/meminfo": "MemTotal: 10 kB\n"]) == [
        .error("/proc/meminfo has no readable line \"MemFree\"")
      ])
    #expect(
      Self.gather(&ram, ["/proc/meminfo": "MemTotal: 10 kB\nMemFree: 11 kB\nMemAvailable: 1 kB\n"]) == [
        .error("/proc/meminfo: more memory is free than there is in all")
      ])
    var swap = try Vitals.Swap(plan: Self.plan("Vitals.Swap"))
    #expect(
      Self.gather(&swap, ["/proc/meminfo": "x", "/proc/vmstat": "x", "/proc/uptime": "x"]) == [
        .error("/proc/uptime does not begin with a number: \"x\"")
      ])
    var host = Host(bootID: nil)
    #expect(
      Self.gather(&host, [:]) == [
        .error(
          "/proc/sys/kernel/random/boot_id could not be read: command: /proc/sys/kernel/random/boot_id: No such file or"
            + " directory")
      ])
  }

  @Test("Debian 12's memory: used is what is not available")
  func ram() throws {
    var ram = try Vitals.RAM(plan: Self.plan("Vitals.RAM"))
    let capture = String(decoding: try Fixture.bytes("debian-12-proc-meminfo"), as: UTF8.self)
    guard case .value(let value)? = Self.gather(&ram, ["/proc/meminfo": capture]).first else {
      throw Unreadable("no value")
    }
    let total = try #require(value["total"]?.integer)
    let available = try #require(value["available"]?.integer)
    #expect(total == 24_684_084 * 1024)
    #expect(value["used"] == .int(total - available))
    #expect(value["percent"] == .double(rounded(Double(total - available) / Double(total) * 100)))
    #expect(
      Set(value.fields?.keys.map { $0 } ?? [])
        == ["total", "used", "free", "available", "buffers", "cached", "slab", "percent"])
  }

  static func swap(_ pagesIn: Int, _ pagesOut: Int, uptime: String) -> [String: String] {
    [
      "/proc/meminfo": "MemTotal: 100000 kB\nMemFree: 40000 kB\nSwapTotal: 1000 kB\nSwapFree: 750 kB\n",
      "/proc/vmstat": "nr_dirty 7\npswpin \(pagesIn)\npswpout \(pagesOut)\n",
      "/proc/uptime": "\(uptime) 1.0\n",
    ]
  }

  @Test("Swap rates are bytes a second by the host's own clock, none in the first sample and after a reboot")
  func swapRates() throws {
    var swap = try Vitals.Swap(plan: Self.plan("Vitals.Swap"))
    let still: Value = ["total": 1_024_000, "used": 256_000, "free": 768_000, "percent": 25.0]
    var moving = still.fields ?? [:]
    moving["in_per_second"] = .double(10 * 4096)
    moving["out_per_second"] = .double(2.5 * 4096)
    #expect(Self.gather(&swap, Self.swap(100, 200, uptime: "50.00")) == [.value(still)])
    var host = HostFacts()
    host.pageSize = 4096
    #expect(Self.gather(&swap, Self.swap(200, 225, uptime: "60.00"), host: host) == [.value(.object(moving))])
    #expect(Self.gather(&swap, Self.swap(300, 325, uptime: "5.00")) == [.value(still)])
    #expect(Self.gather(&swap, Self.swap(1, 1, uptime: "6.00")) == [.value(still)])
    // Without a page's size: nothing moved is known to be 0, anything else is unknown.
    moving["in_per_second"] = 0.0
    moving["out_per_second"] = nil
    #expect(Self.gather(&swap, Self.swap(1, 9, uptime: "7.00")) == [.value(.object(moving))])
  }

  @Test("A host without swap uses none of it; one with swap and without counters is an error")
  func noSwap() throws {
    var swap = try Vitals.Swap(plan: Self.plan("Vitals.Swap"))
    var files = Self.swap(0, 0, uptime: "5.00")
    files["/proc/vmstat"] = "nr_dirty 7\n"
    #expect(
      Self.gather(&swap, files) == [.error("/proc/vmstat has no readable lines \"pswpin\" and \"pswpout\"")])
    files["/proc/meminfo"] = "MemTotal: 10 kB\nMemFree: 4 kB\nSwapTotal: 0 kB\nSwapFree: 0 kB\n"
    #expect(
      Self.gather(&swap, files) == [
        .value(["total": 0, "used": 0, "free": 0, "percent": 0.0, "in_per_second": 0.0, "out_per_second": 0.0])
      ])
  }

  static let boots = ["b17da1b7-28b4-4285-8b3b-4ecfcfea8eb8", "00000000-28b4-4285-8b3b-4ecfcfea8eb8"]

  static func host(_ boot: Int, uptime: String) -> [String: String] {
    [
      "/proc/sys/kernel/random/boot_id": boots[boot] + "\n", "/proc/uptime": "\(uptime) 1.00\n",
      "/proc/stat": "cpu 1 2 3 4\ncpu0 1 2 3 4\nbtime 1795237101\n", "/etc/os-release": "PRETTY_NAME=\"X\"\n",
      "/proc/sys/kernel/osrelease": "6.1\n", "/proc/meminfo": "MemTotal: 8 kB\nSwapTotal: 0 kB\n",
      "/proc/self/smaps": "KernelPageSize: 4 kB\n",
    ]
  }

  @Test("A reboot is exactly one event, and the facts are asked for again")
  func reboot() {
    var host = Host(bootID: nil)
    var events: [[String]] = []
    for (boot, uptime) in [(0, "100.00"), (0, "110.00"), (1, "5.00"), (1, "15.00"), (1, "25.00")] {
      events.append(
        Self.gather(&host, Self.host(boot, uptime: uptime)).map { gathered in
          switch gathered {
          case .event(let value): "reboot \(value["previous_boot_id"]?.text ?? "")"
          case .value: "value"
          case .facts(let facts): "facts \(facts.bootID ?? "")"
          default: "\(gathered)"
          }
        })
    }
    #expect(
      events == [
        ["value", "facts \(Self.boots[0])"], ["value"], ["reboot \(Self.boots[0])", "value"],
        ["value", "facts \(Self.boots[1])"], ["value"],
      ])
  }

  @Test("A reboot while nobody looked is one event as well")
  func rebootBetween() {
    var host = Host(bootID: Self.boots[1])
    let first = Self.gather(&host, Self.host(0, uptime: "1.00"))
    #expect(first.filter { if case .event = $0 { true } else { false } }.count == 1)
    #expect(
      Self.gather(&host, Self.host(0, uptime: "2.00")).contains { if case .event = $0 { true } else { false } } == false
    )
  }

  @Test("The facts become the fields of detected_specs, and what is missing is left out")
  func facts() throws {
    var host = Host(bootID: nil)
    let gathered = Self.gather(&host, Self.host(0, uptime: "100.00"))
    guard case .facts(let facts)? = gathered.last else { throw Unreadable("no facts") }
    let expected: Value = [
      "os": "X", "kernel": "6.1", "cpu_cores": 1, "ram": 8192, "swap": 0, "page_size": 4096,
      "boot_id": .string(Self.boots[0]),
    ]
    #expect(facts.value == expected)
    #expect(HostFacts(expected) == facts)
  }

  @Test(
    "The clock's skew is in whole seconds, and not told when the answer is old",
    arguments: [
      (0.0, 0, 0), (0.4, 0, 0), (-0.4, 0, 0), (3.0, 0, -3000), (-120.2, 0, 120_000), (1.0, 2000, 0), (0, 2001, nil),
    ] as [(Double, Int, Int64?)])
  func skew(_ ahead: Double, _ latency: Int, _ expected: Int64?) {
    let moment = Moment(at: Date(timeIntervalSince1970: 1000.5 + ahead), latency: .milliseconds(latency))
    #expect(Host.skew(900, 100, moment) == expected)
    #expect(Host.skew(nil, 100, moment) == nil)
    #expect(Host.skew(.max, 100, moment) == nil)
  }

  @Test("An unknown metric or option is refused with the nearest name")
  func registry() {
    let registry = MetricRegistry.standard
    #expect(registry.knownNames == ["Connection", "Host", "Vitals.CPU", "Vitals.Disk", "Vitals.RAM", "Vitals.Swap"])
    #expect(registry.nearest(to: "Vitals.Dsk") == "Vitals.Disk")
    #expect(registry.nearest(to: "cpu") == "Vitals.CPU")
    #expect(registry.nearest(to: "Weather") == nil)
    #expect(registry.check(Self.plan("Vitals.CPU")) == nil)
    #expect(
      registry.check(Self.plan("Vitals.Cpux"))
        == MetricRefused(path: "", reason: "there is no metric \"Vitals.Cpux\"", hint: "did you mean Vitals.CPU?"))
    #expect(
      registry.check(MetricPlan(metric: "Vitals.CPU", interval: .seconds(1), options: ["intervall": 1]))
        == MetricRefused(path: "intervall", reason: "Vitals.CPU has no such option", hint: "did you mean interval?"))
  }
}
