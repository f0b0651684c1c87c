import Foundation
import Model
import Notifications
import Storage
import TestKit
import Testing

@Suite struct RouterTests {
  static let channels = [
    Office.channel("all", to: ["a@example.org", "b@example.org"]),
    Office.channel("web", to: "w@example.org", selector: .labels(["role": "web"])),
    Office.channel("mine", to: "m@example.org", selector: .names(["web-1"])),
    Office.channel("other", to: "o@example.org", selector: .names(["db-1"])),
    Office.channel("off", to: "x@example.org", enabled: false),
    Office.channel("odd", to: "y@example.org", type: "emial"),
    Office.channel("nobody", to: []),
  ]

  struct Case: Sendable, CustomTestStringConvertible {
    var name: String
    var notify: [[String]]?
    var target = "web-1"
    /// `option recipient [alternates]`.
    var entries: [String]
    var problems: [String] = []
    var testDescription: String { name }
  }

  @Test(
    "announcements become one entry for each recipient, as `notify` says",
    arguments: [
      Case(name: "one step", notify: [["web"]], entries: ["web w@example.org []"]),
      Case(
        name: "all steps, all recipients", notify: [["all"], ["web"]],
        entries: ["all a@example.org []", "all b@example.org []", "web w@example.org []"]),
      Case(
        name: "an inner list: the first now, the others in reserve", notify: [["mine", "all", "web"]],
        entries: ["mine m@example.org [all,web]"]),
      Case(
        name: "named channels need not match the target", notify: [["other"]], entries: ["other o@example.org []"]),
      Case(
        name: "a disabled channel gives way to the next", notify: [["off", "web"]], entries: ["web w@example.org []"]),
      Case(
        name: "an unknown name is a problem, the others go on", notify: [["weeb", "mine"], ["web"]],
        entries: ["mine m@example.org []", "web w@example.org []"], problems: ["reaction_targets disk-full notify.0"]),
      Case(
        name: "an unknown type is a problem, the others go on", notify: [["odd"], ["web"]],
        entries: ["web w@example.org []"], problems: ["notification_options odd type"]),
      Case(
        name: "a channel without a recipient is a problem", notify: [["nobody", "web"]],
        entries: ["web w@example.org []"], problems: ["notification_options nobody to"]),
      Case(
        name: "a name given twice counts once", notify: [["web", "web"]], entries: ["web w@example.org []"]),
      Case(
        name: "without notify: all that match", notify: nil,
        entries: [
          "mine m@example.org []", "web w@example.org []", "all a@example.org []", "all b@example.org []",
        ],
        problems: ["notification_options odd type"]),
      Case(
        name: "without notify, a target that is gone: by name and generic", notify: nil, target: "db-1",
        entries: ["other o@example.org []", "all a@example.org []", "all b@example.org []"],
        problems: ["notification_options odd type"]),
      Case(name: "nobody", notify: [], entries: [], problems: ["reaction_targets disk-full notify"]),
    ])
  func table(_ row: Case) async throws {
    let office = Office(Self.channels)
    try await office.announce(.firing, Office.episode(target: row.target), notify: row.notify)
    let entries = try await office.entries()
    #expect(
      entries.map { "\($0.option ?? "-") \($0.recipient ?? "-") [\($0.alternates.joined(separator: ","))]" }
        == row.entries)
    #expect(office.problems.all.map { "\($0.kind) \($0.id) \($0.path)" }.sorted() == row.problems.sorted())
    #expect(Set(entries.compactMap(\.key)).count == entries.count)
    #expect(try await office.storage.episodes(reaction: "disk-full", openOnly: true, limit: 10).count == 1)
  }

  @Test("an entry has the five basic fields and all that the ledger shows")
  func shape() async throws {
    let office = Office()
    try await office.announce(.firing)
    let entry = try #require(try await office.entries().first)
    #expect(entry.reaction == "disk-full")
    #expect(entry.target == "web-1")
    #expect(entry.type == "email")
    #expect(entry.payload["from"] == "syscrap@example.org")
    #expect(entry.payload["to"] == "a@example.org")
    #expect(
      entry.payload["subject"] == "[FIRING critical] Vitals.Disk /var on web-1: 93.1 % (limit: at most 90 %)")
    #expect(entry.payload["body"]?.text?.contains("Where:    web-1 (host 192.0.2.10)") == true)
    #expect(entry.kind == "firing")
    #expect(entry.episode == "e1")
    #expect(entry.severity == .critical)
    #expect(entry.after == nil)
    #expect(entry.state == .pending)
    #expect(entry.created == Office.opening)
  }

  @Test("the same announcement twice queues nothing new")
  func idempotent() async throws {
    let office = Office()
    try await office.announce(.firing)
    try await office.announce(.firing)
    #expect(try await office.entries().count == 1)
  }

  @Test("an episode that ends before it fired here, but whose firing came from another instance, is told to be over")
  func firedElsewhere() async throws {
    let office = Office()
    var ended = Office.episode(endedAfter: .seconds(60))
    try await office.announce(.silent, ended)
    #expect(try await office.entries().isEmpty)
    try await office.announce(.firing)
    try await office.announce(.silent, ended)
    #expect(try await office.entries().map(\.kind) == ["firing", "resolved"])
    // One that had fired here was silent on purpose.
    ended.id = "e2"
    ended.fired_at = Office.opening
    try await office.announce(.firing, Office.episode(id: "e2"))
    try await office.announce(.silent, ended)
    #expect(try await office.entries().map(\.kind) == ["firing", "resolved", "firing"])
  }

  @Test("a silent announcement stores the episode and says nothing")
  func silent() async throws {
    let office = Office()
    try await office.announce(.silent)
    #expect(try await office.entries().isEmpty)
    #expect(try await office.storage.episodes(reaction: nil, openOnly: true, limit: 9).map(\.id) == ["e1"])
    #expect(office.doorbell.count == 0)
  }

  @Test("a new message rings the bell")
  func rings() async throws {
    let office = Office()
    try await office.announce(.firing)
    #expect(office.doorbell.count == 1)
  }

  @Test("that nobody hears of a reaction is said once, and again after somebody did")
  func unheard() async throws {
    let office = Office()
    try await office.announce(.firing, Office.episode(id: "e1", reaction: "disk-full", target: "web-1"), notify: [])
    try await office.announce(.firing, Office.episode(id: "e2", reaction: "disk-full", target: "web-2"), notify: [])
    try await office.announce(
      .firing, Office.episode(id: "e3", reaction: "disk-full", target: "web-3"), notify: [["ops"]])
    try await office.announce(.firing, Office.episode(id: "e4", reaction: "disk-full", target: "web-4"), notify: [])
    #expect(office.problems.all.count == 2)
  }

  @Test("reminders and resolved stay behind the message before them, each on its own way")
  func after() async throws {
    let office = Office([Office.channel("all", to: ["a@example.org", "b@example.org"])])
    for kind in [Announcement.Kind.firing, .reminder(1), .reminder(2), .resolved] {
      try await office.announce(kind, notify: [["all"]])
      office.clock.advance(by: .seconds(60))
    }
    let entries = try await office.entries()
    for recipient in ["a@example.org", "b@example.org"] {
      let own = entries.filter { $0.recipient == recipient }
      #expect(own.map(\.kind) == ["firing", "repeat 1", "repeat 2", "resolved"])
      #expect(own.map(\.after) == [nil, own[0].key, own[1].key, own[2].key])
    }
  }

  @Test("resolved also goes to the alternates that got the firing, and to no others")
  func resolvedByAlternate() async throws {
    let office = Office([
      Office.channel("ops", to: "a@example.org"), Office.channel("pager", to: "p@example.org"),
      Office.channel("boss", to: "b@example.org"),
    ]) { _, options in
      options.id == "ops" ? .gaveUp(answer: "550 no") : .delivered(receipt: "250 ok")
    }
    try await office.announce(.firing, notify: [["ops", "pager", "boss"]])
    try await office.work(until: 10)
    try await office.announce(.resolved, notify: [["ops", "pager", "boss"]])
    let resolved = try await office.entries().filter { $0.kind == "resolved" }
    #expect(resolved.map(\.option) == ["ops", "pager"])
    let firing = try await office.entries().filter { $0.kind == "firing" }
    #expect(resolved.map(\.after) == firing.map(\.key))
  }

  @Test("the end is told to those who heard of the beginning, whatever the document says by then")
  func resolvedToThoseTold() async throws {
    let office = Office([Office.channel("ops", to: "a@example.org"), Office.channel("pager", to: "p@example.org")])
    try await office.announce(.firing, notify: [["ops"]])
    try await office.work(until: 10)
    // The rule was removed: its list is gone with it, and all channels would match.
    try await office.announce(.resolved, notify: nil)
    #expect(try await office.entries().filter { $0.kind == "resolved" }.map(\.option) == ["ops"])
  }
}
