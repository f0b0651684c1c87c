internal import Model
internal import Remote
internal import Testing

@testable internal import Aggregation

@Suite("Parsers of what hosts say")
struct ParserTests {
  @Test("Debian 12's /proc/stat gives ticks, processors and the second of the boot")
  func stat() throws {
    let stat = try ProcStat.parse(Fixture.bytes("debian-12-proc-stat"))
    #expect(stat.ticks.count == 8)
    #expect(stat.cores == 2)
    #expect(stat.bootTime == 1_795_237_101)
    #expect(stat.ticks[3] > 200_000)
  }

  @Test("Shares of processor time add up to 100 and follow the ticks that passed")
  func shares() throws {
    let old = try ProcStat.parse(Fixture.text("cpu 100 0 50 1000 10 0 5 0 0 0\ncpu0 1 1 1 1\nbtime 5\n"))
    let new = try ProcStat.parse(Fixture.text("cpu 150 0 75 1100 20 5 10 5 0 0\ncpu0 1 1 1 1\nbtime 5\n"))
    guard case .shares(let shares) = new.change(since: old) else { throw Unreadable("no shares") }
    #expect(shares == [25, 0, 12.5, 50, 5, 2.5, 2.5, 2.5])
  }

  @Test("A counter that goes back is a reset, but idle may go back a little, and an unchanged file is still")
  func wrap() throws {
    func stat(_ ticks: [UInt64]) -> ProcStat { ProcStat(ticks: ticks, cores: 1, bootTime: nil) }
    #expect(stat([5, 0, 0, 9]).change(since: stat([9, 0, 0, 9])) == .reset)
    #expect(stat([9, 0, 0, 0]).change(since: stat([.max, 0, 0, .max])) == .reset)
    #expect(stat([10, 0, 10, 99]).change(since: stat([0, 0, 0, 100])) == .shares([50, 0, 50, 0]))
    #expect(stat([10, 0, 10, 99]).change(since: stat([0, 0, 0, 1000])) == .reset)
    #expect(stat([1, 2, 3, 4]).change(since: stat([1, 2, 3, 4])) == .still)
    #expect(stat([1, 2, 3, 4]).change(since: stat([1, 2, 3, 4, 5])) == .reset)
    // Sums beyond 64 bits are no trap.
    #expect(
      stat([.max, .max, .max, .max]).change(since: stat([0, 0, 0, 0])) == .shares([25, 25, 25, 25]))
  }

  @Test(
    "What is missing in /proc/stat is named",
    arguments: [
      ("", "/proc/stat has no line \"cpu\""),
      ("cpu0 1 2 3 4\n", "/proc/stat has no line \"cpu\""),
      ("cpu 1 2 3\ncpu0 1 2 3\n", "/proc/stat: the line \"cpu\" has 3 numbers instead of at least 4"),
      ("cpu 1 2 3 4\n", "/proc/stat has no line \"cpu0\""),
      ("cpu 1 2 x\u{1b}[2J 4\ncpu0 1\n", "/proc/stat: \"x?[2J\" in the line \"cpu\" is not a number"),
      (
        "cpu 1 2 3 99999999999999999999999\n",
        "/proc/stat: \"99999999999999999999999\" in the line \"cpu\" is not a number"
      ),
      ("cpu -1 2 3 4\n", "/proc/stat: \"-1\" in the line \"cpu\" is not a number"),
    ])
  func statErrors(_ text: String, _ message: String) {
    #expect(throws: Unreadable(message)) { try ProcStat.parse(Fixture.text(text)) }
  }

  @Test("A kernel with four columns and no btime is read")
  func oldStat() throws {
    let stat = try ProcStat.parse(Fixture.text("cpu  1 2 3 4\ncpu0 1 2 3 4\n"))
    #expect(stat == ProcStat(ticks: [1, 2, 3, 4], cores: 1, bootTime: nil))
  }

  @Test("Debian 12's /proc/meminfo gives bytes")
  func meminfo() throws {
    let memory = ProcMeminfo.parse(try Fixture.bytes("debian-12-proc-meminfo"))
    #expect(try memory.bytes("MemTotal") == 24_684_084 * 1024)
    #expect(try memory.available() == memory.bytes("MemAvailable"))
    #expect(memory.bytesIfPresent("SwapTotal") == 0)
  }

  @Test(
    "Where the kernel does not say what is available, it is computed",
    arguments: [
      ("MemFree: 100 kB\nActive(file): 30 kB\nInactive(file): 20 kB\nSReclaimable: 5 kB\n", 155),
      ("MemFree: 100 kB\nBuffers: 10 kB\nCached: 40 kB\nShmem: 15 kB\n", 135),
      ("MemFree: 100 kB\nBuffers: 0 kB\nCached: 0 kB\nShmem: 15 kB\n", 100),
      ("MemFree: 100 kB\nMemAvailable: 7 kB\n", 7),
    ])
  func available(_ text: String, _ kibibytes: Int64) throws {
    #expect(try ProcMeminfo.parse(Fixture.text(text)).available() == kibibytes * 1024)
  }

  @Test(
    "Lines of /proc/meminfo that are not kB or too large count as missing",
    arguments: [
      "MemTotal: 12\n", "MemTotal: x kB\n", "MemTotal: 9223372036854775807 kB\n", "MemTotal: 18446744073709551616 kB\n",
      "MemTotal\n", "MemTotal:\n", ":\n", "", "MemTotal: -1 kB", "MemTotal: 1 MB",
    ])
  func meminfoErrors(_ text: String) {
    #expect(throws: Unreadable("/proc/meminfo has no readable line \"MemTotal\"")) {
      try ProcMeminfo.parse(Fixture.text(text)).bytes("MemTotal")
    }
  }

  @Test("The size of a page is told by the beginning of smaps")
  func pageSize() throws {
    let pages = ProcVmstat.parse(try Fixture.bytes("debian-12-proc-vmstat"))
    #expect(pages == ProcVmstat(swappedIn: 0, swappedOut: 0))
    #expect(PageSize.parse(try Fixture.bytes("debian-12-proc-self-smaps")) == 4096)
    #expect(PageSize.parse(Fixture.text("KernelPageSize:       64 kB\n")) == 65536)
    for text in ["", "KernelPageSize: 3 kB", "KernelPageSize: 0 kB", "KernelPageSize: 4 MB", "KernelPageSize: 4"] {
      #expect(PageSize.parse(Fixture.text(text)) == nil, "\(text)")
    }
  }

  @Test("Load, uptime and boot id are read, and garbage is named")
  func small() throws {
    #expect(
      try LoadAverage.parse(Fixture.text("0.26 0.33 0.17 1/97 10945\n"))
        == LoadAverage(one: 0.26, five: 0.33, fifteen: 0.17))
    _ = try LoadAverage.parse(Fixture.bytes("debian-12-proc-loadavg"))
    #expect(try Uptime.parse(Fixture.text("1583.65 2930.51\n")) == 1583.65)
    #expect(try Uptime.parse(Fixture.bytes("debian-12-proc-uptime")) > 1583)
    #expect(try BootID.parse(Fixture.bytes("debian-12-proc-boot-id")) == "b17da1b7-28b4-4285-8b3b-4ecfcfea8eb8")
    #expect(throws: Unreadable("/proc/loadavg does not begin with three numbers: \"0.1 nan 3\"")) {
      try LoadAverage.parse(Fixture.text("0.1 nan 3"))
    }
    #expect(throws: Unreadable("/proc/uptime does not begin with a number: \"inf\"")) {
      try Uptime.parse(Fixture.text("inf"))
    }
    #expect(throws: Unreadable("/proc/uptime does not begin with a number: \"99999999999999 1\"")) {
      try Uptime.parse(Fixture.text("99999999999999 1"))
    }
    #expect(throws: Unreadable("/proc/sys/kernel/random/boot_id holds no UUID: \"b17da1b7\"")) {
      try BootID.parse(Fixture.text("b17da1b7"))
    }
  }

  @Test("The name of the system is read with and without quotes, and shown without control characters")
  func osRelease() throws {
    #expect(OSRelease.parse(try Fixture.bytes("debian-12-os-release")) == "Debian GNU/Linux 12 (bookworm)")
    #expect(OSRelease.parse(Fixture.text("NAME=Alpine\nVERSION_ID=3.19\n")) == "Alpine 3.19")
    #expect(OSRelease.parse(Fixture.text("PRETTY_NAME=\"a\u{1b}b\"\n")) == "a?b")
    #expect(OSRelease.parse(Fixture.text("x\n=\n")) == nil)
    #expect(OSRelease.line(Fixture.text("6.1.0-28-amd64\n")) == "6.1.0-28-amd64")
    #expect(OSRelease.line([]) == nil)
  }

  @Test("Numbers that are none are nil, never 0 and never a trap")
  func numbers() {
    func slice(_ text: String) -> ArraySlice<UInt8> { Fixture.text(text)[...] }
    #expect(Bytes.unsigned(slice("18446744073709551615")) == .max)
    for text in ["", "18446744073709551616", "+1", "1 ", "0x1", "1e3", "-0", "\u{0}1"] {
      #expect(Bytes.unsigned(slice(text)) == nil, "\(text)")
    }
    #expect(Bytes.signed(slice("-9223372036854775807")) == -9_223_372_036_854_775_807)
    #expect(Bytes.signed(slice("-9223372036854775809")) == nil)
    #expect(Bytes.signed(slice("--1")) == nil)
    #expect(Bytes.decimal(slice("12.50")) == 12.5)
    for text in ["", ".", "1.", ".5", "1.2.3", "nan", "inf", "1e9", "-1.0", "1.1234567890123456789"] {
      #expect(Bytes.decimal(slice(text)) == nil, "\(text)")
    }
  }

  @Test("Escapes of /proc/mounts are undone, broken ones are kept")
  func escapes() {
    func undone(_ text: String) -> String {
      String(decoding: MountTable.unescape(Fixture.text(text)[...]), as: UTF8.self)
    }
    #expect(undone(#"/a\040b\011c\012d\134e\043"#) == "/a b\tc\nd\\e#")
    #expect(undone(#"/a\04"#) == #"/a\04"#)
    #expect(undone(#"/a\999\"#) == #"/a\999\"#)
    #expect(undone(#"/\777"#) == #"/\777"#)
  }
}
