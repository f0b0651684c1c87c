internal import FoundationEssentials
internal import Model
internal import Remote
internal import Testing

@testable internal import Aggregation

@Suite("Vitals.Disk")
struct DiskTests {
  static let space = Fixture.text(
    "Filesystem 1024-blocks Used Available Capacity Mounted on\n/dev/sda1 100 60 20 75% /\n=blocks 0\n"
      + "Filesystem Inodes IUsed IFree IUse% Mounted on\n/dev/sda1 10 1 9 10% /\n=inodes 0\n")

  static func result(_ output: [UInt8], status: Int32 = 0, errors: String = "") -> Answer {
    .result(CommandResult(status: status, output: output, errors: Fixture.text(errors)))
  }

  static func gather(_ metric: inout Vitals.Disk, df: Answer, mounts: [UInt8]? = nil) -> [Gathered] {
    let questions = metric.questions(nil)
    let answers = Fixture.answers(questions, mounts.map { ["/proc/mounts": $0] } ?? [:], df: df)
    return metric.gathered(from: answers, at: Moment(at: .init(timeIntervalSince1970: 0)))
  }

  static func disk() throws -> Vitals.Disk {
    try Vitals.Disk(plan: MetricPlan(metric: "Vitals.Disk", interval: .seconds(60)))
  }

  static func mounts(_ gathered: [Gathered]) -> [String] {
    guard case .value(.array(let list))? = gathered.last else { return [] }
    return list.compactMap { $0["mount"]?.text }
  }

  @Test("Debian 12: coreutils and BusyBox give the same file systems, each device once, with spaces and newlines")
  func captures() throws {
    let table = try Fixture.bytes("debian-12-proc-mounts")
    var gnu = try Self.disk()
    let fromGNU = Self.gather(&gnu, df: Self.result(try Fixture.bytes("coreutils-9.1-df")), mounts: table)
    #expect(Self.mounts(fromGNU) == ["/", "/tmp/agg mnt/x y", "/tmp/agg mnt/n?l", "/tmp/aggext"])
    #expect(fromGNU.count == 1)
    guard case .value(.array(let list))? = fromGNU.last else { throw Unreadable("no value") }
    #expect(
      list.last == [
        "mount": "/tmp/aggext", "device": "/dev/loop0", "fstype": "ext4", "size": .int(6588 * 1024),
        "used": .int(6415 * 1024), "available": 0, "percent": 100.0, "inodes": 2048, "inodes_used": 12,
        "inodes_percent": 0.59,
      ])
    #expect(list.first?["device"] == "/dev/vda")
    #expect(list.first?["percent"] == .double(rounded(16282336.0 / (16282336 + 82783276) * 100)))
    #expect(list[2]["device"] == "we ird")
    #expect(list[2]["fstype"] == "tmpfs")

    var busybox = try Self.disk()
    let fromBusyBox = Self.gather(&busybox, df: Self.result(try Fixture.bytes("busybox-1.35.0-df")), mounts: table)
    #expect(Self.mounts(fromBusyBox) == ["/", "/tmp/agg mnt/x y", "/tmp/agg mnt/n\nl", "/tmp/aggext"])
    guard case .value(.array(let same))? = fromBusyBox.last else { throw Unreadable("no value") }
    #expect(same.last == list.last)
  }

  @Test("Without /proc/mounts the figures stay, the types are missing and pseudo devices are still left out")
  func withoutMounts() throws {
    var disk = try Self.disk()
    let gathered = Self.gather(&disk, df: Self.result(try Fixture.bytes("coreutils-9.1-df")))
    #expect(Self.mounts(gathered) == ["/", "/tmp/agg mnt/x y", "/tmp/agg mnt/n?l", "/tmp/aggext"])
  }

  @Test("/ is shown whatever its type, and pseudo file systems are not")
  func root() throws {
    var disk = try Self.disk()
    let lines = ["tmpfs", "proc", "sysfs", "devtmpfs", "cgroup", "squashfs"].enumerated().map { index, type in
      (
        df: "\(type) 10 1 9 10% \(index == 0 ? "/" : "/m\(index)")",
        mount: "\(type) \(index == 0 ? "/" : "/m\(index)") \(type) rw 0 0"
      )
    }
    let output =
      "Filesystem 1024-blocks Used Available Capacity Mounted on\n" + lines.map(\.df).joined(separator: "\n")
      + "\ntmpfs 10 1 9 10% /run/user/0\ntmpfs 10 1 9 10% /runner\n=blocks 0\nFilesystem x\n=inodes 0\n"
    let table =
      lines.map(\.mount).joined(separator: "\n") + "\ntmpfs /run/user/0 tmpfs rw 0 0\ntmpfs /runner tmpfs rw 0 0\n"
    #expect(
      Self.mounts(Self.gather(&disk, df: Self.result(Fixture.text(output)), mounts: Fixture.text(table))) == [
        "/", "/runner",
      ])
  }

  @Test("percent is that of df: the reserve of root does not count, and eaten into it is 100")
  func percent() throws {
    #expect(DiskReport.Entry.percent(60, 20) == 75.0)
    #expect(DiskReport.Entry.percent(100, -4) == 100.0)
    #expect(DiskReport.Entry.percent(0, 0) == nil)
    #expect(DiskReport.Entry.percent(.max, .max) == 50.0)
  }

  @Test(
    "What df does wrong is an error sample that says it",
    arguments: [
      (DiskTests.result([]), "df did not come to its end"),
      (
        DiskTests.result([], status: 127, errors: "sh: df: not found\n"),
        "df did not come to its end: sh: df: not found"
      ),
      (
        DiskTests.result(Fixture.text("=blocks 127\n=inodes 127\n"), errors: "sh: df: not found\n"), "sh: df: not found"
      ),
      (DiskTests.result(Fixture.text("\u{0}\u{1}\n=blocks 0\n=inodes 0\n")), "df printed no table: \"???\""),
      (
        DiskTests.result(Fixture.text("Filesystem x\nnonsense\n=blocks 1\n=inodes 1\n"), errors: "df: oh\n"),
        "df shows no file system: df: oh"
      ),
      (
        .failed(RemoteError(.timedOut, phase: .command, "late")),
        "df did not answer within 10 s, perhaps because of a dead network file system"
      ),
      (.failed(RemoteError(.tooManyChannels, phase: .channel, "no")), "df could not be run: channel: no"),
      (.content([], isTruncated: false), "df: a file's content came instead of its result"),
      (
        .result(CommandResult(status: nil, output: DiskTests.space, isTruncated: true)),
        "df printed more than the limit of its output"
      ),
      (
        DiskTests.result(
          Fixture.text("Filesystem x\n/dev/sda1 99999999999999999999 1 1 1% /\n=blocks 0\nFilesystem x\n=inodes 0\n")),
        "df shows no file system"
      ),
      (
        DiskTests.result(
          Fixture.text("Filesystem x\n/dev/sda1 9223372036854775807 1 1 1% /\n=blocks 0\nFilesystem x\n=inodes 0\n")),
        "df shows no file system"
      ),
    ])
  func errors(_ answer: Answer, _ message: String) throws {
    var disk = try Self.disk()
    #expect(Self.gather(&disk, df: answer) == [.error(message)])
  }

  @Test("A complaint beside good figures is told once, and again when it changes")
  func complaints() throws {
    var disk = try Self.disk()
    func stale(_ words: String) -> Answer {
      var output = String(decoding: Self.space, as: UTF8.self)
      output = output.split(separator: "\n").map { $0 == "=blocks 0" ? "=blocks 1" : String($0) }.joined(
        separator: "\n")
      return Self.result(Fixture.text(output + "\n"), errors: words)
    }
    let counts = [
      stale("df: /mnt: Stale file handle"), stale("df: /mnt: Stale file handle"), Self.result(Self.space),
      stale("df: x"),
    ]
    .map { answer -> [String] in
      Self.gather(&disk, df: answer).map { if case .error(let text) = $0 { text } else { "value" } }
    }
    #expect(
      counts == [
        ["df ended with status 1: df: /mnt: Stale file handle", "value"], ["value"], ["value"],
        ["df ended with status 1: df: x", "value"],
      ])
  }

  @Test("After df hung only local file systems are asked for, and all of them less and less often")
  func hang() throws {
    var disk = try Self.disk()
    let late: Answer = .failed(RemoteError(.timedOut, phase: .command, "late"))
    var asked = ""
    for _ in 0..<50 {
      guard case .run(let command)? = disk.questions(nil).last else { throw Unreadable("no df") }
      let isLocal = command.arguments[2].contains("-Pkl")
      asked += isLocal ? "l" : "A"
      _ = Self.gather(&disk, df: isLocal ? Self.result(Self.space) : late)
    }
    #expect(asked == "AllAllllAllllllllA" + String(repeating: "l", count: 16) + "A" + String(repeating: "l", count: 15))
    _ = Self.gather(&disk, df: Self.result(Self.space))
    // The server is back: everything is asked for at each tick again.
    #expect(Self.gather(&disk, df: Self.result(Self.space)).count == 1)
    #expect(disk.questions(nil).last == (try Self.disk()).clean)
  }

  @Test("A device that looks like numbers is read by the mount that is known")
  func ambiguous() throws {
    let mounts = MountTable.parse(Fixture.text(#"1\0402\0403\0404%\040/x /real tmpfs rw 0 0"# + "\n"))
    let table = try DiskTable.parse(Fixture.text("Filesystem x\n1 2 3 4% /x 10 1 9 10% /real\n")[...], mounts: mounts)
    #expect(table.rows.map { String(decoding: $0.mount, as: UTF8.self) } == ["/real"])
    #expect(table.rows.map { String(decoding: $0.device, as: UTF8.self) } == ["1 2 3 4% /x"])
  }

  @Test("Hostile output costs no more than reading it")
  func hostile() throws {
    let line = String(repeating: "1 1 1 1% / ", count: 90_000)
    let many = "Filesystem x\n" + String(repeating: "d 1 1 1 1% /\n", count: 70_000)
    let known = MountTable.parse(Fixture.text(String(repeating: "d / t rw 0 0\n", count: 70_000)))
    let long = try DiskTable.parse(Fixture.text("Filesystem x\n" + line)[...], mounts: known)
    #expect(long.rows.isEmpty)
    let table = try DiskTable.parse(Fixture.text(many)[...], mounts: known)
    #expect(table.rows.count == 4096)
    #expect(table.malformed == "d 1 1 1 1% /")
  }
}

extension Vitals.Disk {
  fileprivate var clean: Question? {
    var copy = self
    return copy.questions(nil).last
  }
}
