import Foundation
import Model
import Notifications
import TestKit
import Testing

@Suite struct MessageTextTests {
  static let target = Target(id: "t1", name: "web-1", host: "192.0.2.10")

  static func fields(_ kind: Announcement.Kind, _ change: (inout Episode) -> Void = { _ in }) throws -> MessageFields {
    var episode = Office.episode()
    episode.runbook = "https://wiki.example.org/disk-full"
    episode.labels = ["role": "web", "dc": "fra"]
    episode.recent = [(-120, "88.0 %"), (-60, "91.4 %"), (0, "93.1 %")].map {
      Episode.Recent(at: Office.opening.addingTimeInterval($0.0), value: $0.1)
    }
    change(&episode)
    let announcement = Announcement(
      kind: kind, episode: episode, notify: nil, at: Office.opening.addingTimeInterval(60))
    return MessageFields(announcement, kind: try #require(MessageKind(kind)), target: target)
  }

  @Test("a firing message says what, where, how much, since when, and what to do")
  func firing() throws {
    let text = MessageText(try Self.fields(.firing), untold: false)
    #expect(text.subject == "[FIRING critical] Vitals.Disk /var on web-1: 93.1 % (limit: at most 90 %)")
    #expect(
      text.body == """
        CRITICAL: Vitals.Disk /var on web-1: 93.1 % (limit: at most 90 %)

        What:     Vitals.Disk /var
        Value:    93.1 %
        Limit:    at most 90 %
        Where:    web-1 (host 192.0.2.10)
        Since:    2026-11-21 08:15:00 UTC, for 1 min
        Severity: critical
        Reaction: disk-full
        Runbook:  https://wiki.example.org/disk-full
        Labels:   dc=fra role=web

        Last values (UTC):
          2026-11-21 08:13:00  88.0 %
          2026-11-21 08:14:00  91.4 %
          2026-11-21 08:15:00  93.1 %

        See more:
          syscrap describe reaction disk-full
          syscrap describe target web-1
        Silence: set `enabled: false` in the reaction's document and apply it:
          syscrap get reaction_target disk-full -o yaml > reaction.yaml
          syscrap apply -f reaction.yaml
        or take it away for good:
          syscrap delete reaction_target disk-full

        Episode e1

        """)
  }

  @Test("a resolved message says how long it was and why it ended")
  func resolved() throws {
    let fields = try Self.fields(.resolved) {
      $0.ended_at = Office.opening.addingTimeInterval(725)
      $0.value = "71.0 %"
    }
    let text = MessageText(fields, untold: false)
    #expect(text.subject == "[RESOLVED] Vitals.Disk /var on web-1 after 12 min 5 s: back within its limits")
    #expect(
      text.body == """
        RESOLVED: Vitals.Disk /var on web-1 is over after 12 min 5 s.

        Why:      back within its limits
        What:     Vitals.Disk /var
        Value:    71.0 %
        Limit:    at most 90 %
        Where:    web-1 (host 192.0.2.10)
        From:     2026-11-21 08:15:00 UTC
        To:       2026-11-21 08:27:05 UTC, after 12 min 5 s
        Severity: critical
        Reaction: disk-full
        Runbook:  https://wiki.example.org/disk-full
        Labels:   dc=fra role=web

        Last values (UTC):
          2026-11-21 08:13:00  88.0 %
          2026-11-21 08:14:00  91.4 %
          2026-11-21 08:15:00  93.1 %

        See more:
          syscrap describe reaction disk-full
          syscrap describe target web-1

        Episode e1

        """)
  }

  @Test("subjects for every kind")
  func subjects() throws {
    func subject(
      _ kind: Announcement.Kind, untold: Bool = false, _ change: (inout Episode) -> Void = { _ in }
    ) throws -> String { MessageText(try Self.fields(kind, change), untold: untold).subject }
    #expect(
      try subject(.reminder(3))
        == "[FIRING critical] reminder 3: Vitals.Disk /var on web-1: 93.1 % (limit: at most 90 %)")
    // The first message that can be delivered is no reminder to its reader.
    #expect(try subject(.reminder(3), untold: true) == (try subject(.firing)))
    #expect(
      try subject(.resolved) { $0.end_reason = "rule removed" }
        == "[RESOLVED] Vitals.Disk /var on web-1 after 1 min: rule removed")
    #expect(
      try subject(.resolved, untold: true) {
        $0.key.metric = "Connection"
        $0.key.element = nil
        $0.ended_at = Office.opening.addingTimeInterval(93_784)
      }
        == "[RESOLVED] Connection on web-1 was down from 2026-11-21 08:15:00 UTC to 2026-11-22 10:18:04 UTC (1 d 2 h)")
    #expect(
      try subject(.firing) {
        $0.severity = .warning
        $0.value = ""
        $0.limit = ""
        $0.key.name = "raid"
      } == "[FIRING warning] Vitals.Disk raid /var on web-1")
  }

  @Test("names from targets cannot become commands that somebody pastes")
  func shellWords() throws {
    let body = MessageText(
      try Self.fields(.firing) {
        $0.key.reaction = "a b; rm -rf ~"
        $0.key.target = "$(id)'x"
      }, untold: false
    ).body
    #expect(body.contains("  syscrap describe reaction 'a b; rm -rf ~'\n"))
    #expect(body.contains("  syscrap describe target '$(id)'\\''x'\n"))
  }

  @Test("a template puts facts in once, keeps unknown names, and knows the usual text")
  func template() throws {
    let fields = try Self.fields(.firing) { $0.value = "{{limit}} }}" }
    let template = MessageTemplate(
      subject: "{{status}} {{ target }}: {{value}} {{valeu}} {{", body: "{{body}}-- \n{{recent}}")
    let text = MessageText(fields, untold: false, template: template)
    #expect(text.subject == "FIRING web-1: {{limit}} }} {{valeu}} {{")
    #expect(text.body.hasPrefix("CRITICAL: Vitals.Disk /var on web-1"))
    #expect(
      text.body.hasSuffix("-- \n2026-11-21 08:13:00  88.0 %\n2026-11-21 08:14:00  91.4 %\n2026-11-21 08:15:00  93.1 %"))
  }

  @Test("mistakes in a template are problems with the field's path and the nearest name")
  func templateProblems() {
    let options = Office.channel(
      "ops", to: "a@example.org", options: ["template": ["subject": "{{vallue}}", "body": 5, "footer": "x"]])
    #expect(
      MessageTemplate.problems(in: options).map(\.description) == [
        "notification_options ops: template.body: must be text, not a number",
        "notification_options ops: template.footer: unknown field (a template has `subject` and `body`)",
        "notification_options ops: template.subject: there is no field named `vallue`; it stays as it is written (did you mean `{{value}}`?)",
      ])
  }

  @Test(
    "durations are said in the two largest units",
    arguments: [
      (0, "0 s"), (5, "5 s"), (725, "12 min 5 s"), (3600, "1 h"), (3661, "1 h 1 min"), (90_061, "1 d 1 h"),
      (86_460, "1 d"), (-5, "0 s"),
    ])
  func durations(seconds: Int, text: String) {
    #expect(PlainText.duration(.seconds(seconds)) == text)
  }
}
