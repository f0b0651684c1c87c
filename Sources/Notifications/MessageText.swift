/// The words of a message: a subject and a body that a person woken at night can act on.
///
/// A pure function of ``MessageFields``, so that the queue can write it anew whenever it must.
package struct MessageText: Sendable, Hashable {
  /// One line, beginning with `[FIRING severity]`, `[RESOLVED]` or `[TEST]`.
  package var subject: String
  /// Lines with LF between them.
  package var body: String

  package init(subject: String, body: String) {
    self.subject = subject
    self.body = body
  }

  /// Writes the message.
  /// - Parameters:
  ///   - untold: the message before this one (that it fires) never reached anybody; this one tells all of it.
  ///   - template: the channel's own words, when it has some.
  package init(_ fields: MessageFields, untold: Bool, template: MessageTemplate? = nil) {
    switch MessageKind(name: fields["kind"]) {
    case .resolved: self = Self.resolved(fields, untold: untold)
    case .reminder where !untold: self = Self.firing(fields, isReminder: true)
    case .test: self = Self.test(fields)
    case .firing, .reminder, .notice: self = Self.firing(fields, isReminder: false)
    }
    guard let template else { return }
    var all = fields
    all["subject"] = subject
    all["body"] = body
    if let wanted = template.subject { subject = PlainText.line(MessageTemplate.fill(wanted, all)) }
    if let wanted = template.body { body = PlainText.lines(MessageTemplate.fill(wanted, all)) }
  }

  private static func test(_ fields: MessageFields) -> MessageText {
    MessageText(
      subject: "[TEST] \(fields["what"]) from syscrap on \(fields["target"])",
      body: """
        \(fields["what"]): this channel works. Nothing is wrong.

        Sent:     \(fields["since"]), on request (`syscrap notify test`)
        Service:  syscrap on \(fields["target"])

        """)
  }

  private static func firing(_ fields: MessageFields, isReminder: Bool) -> MessageText {
    let place = "\(fields["what"]) on \(fields["target"])"
    // A line of a log can be long; the body has more of it.
    let measured = fields["value"].isEmpty ? "" : ": \(PlainText.line(fields["value"], limit: 120))"
    let limit = fields["limit"].isEmpty ? "" : " (limit: \(fields["limit"]))"
    let reminder = isReminder ? "reminder \(fields["reminder"]): " : ""
    var lines = ["\(fields["severity"].uppercased()): \(place)\(measured)\(limit)"]
    if isReminder { lines.append("This is reminder \(fields["reminder"]): it still holds.") }
    lines.append("")
    lines += facts(fields)
    lines.append(row("Since", "\(fields["since"]), for \(fields["duration"])"))
    lines += background(fields)
    lines += recent(fields)
    lines += advice(fields, silence: true)
    return MessageText(
      subject: "[FIRING \(fields["severity"])] \(reminder)\(place)\(measured)\(limit)",
      body: lines.joined(separator: "\n") + "\n")
  }

  private static func resolved(_ fields: MessageFields, untold: Bool) -> MessageText {
    let place = "\(fields["what"]) on \(fields["target"])"
    let because = fields["reason"].isEmpty ? "back within its limits" : fields["reason"]
    var lines: [String]
    let subject: String
    if untold {
      // Only what answers or not can be down; a full disk was outside its limits.
      let wasBad =
        fields["metric"].hasPrefix("POL.") || fields["metric"] == "Connection" ? "was down" : "was outside its limits"
      subject =
        "[RESOLVED] \(place) \(wasBad) from \(fields["since"]) to \(fields["until"]) (\(fields["duration"]))"
      lines = [
        "RESOLVED: \(place) \(wasBad) from \(fields["since"]) to \(fields["until"]).",
        "No message could be delivered here while it lasted; this one tells of both, beginning and end.",
      ]
    } else {
      subject = "[RESOLVED] \(place) after \(fields["duration"]): \(because)"
      lines = ["RESOLVED: \(place) is over after \(fields["duration"])."]
    }
    lines.append("")
    lines.append(row("Why", because))
    lines += facts(fields)
    lines.append(row("From", fields["since"]))
    lines.append(row("To", "\(fields["until"]), after \(fields["duration"])"))
    lines += background(fields)
    lines += recent(fields)
    lines += advice(fields, silence: false)
    return MessageText(subject: subject, body: lines.joined(separator: "\n") + "\n")
  }

  private static func row(_ name: String, _ text: String) -> String {
    name + ":" + String(repeating: " ", count: max(1, 9 - name.count)) + text
  }

  private static func facts(_ fields: MessageFields) -> [String] {
    var lines: [String] = []
    if !fields["what"].isEmpty { lines.append(row("What", fields["what"])) }
    if !fields["value"].isEmpty { lines.append(row("Value", fields["value"])) }
    if !fields["limit"].isEmpty { lines.append(row("Limit", fields["limit"])) }
    if !fields["target"].isEmpty {
      lines.append(row("Where", fields["target"] + (fields["host"].isEmpty ? "" : " (host \(fields["host"]))")))
    }
    return lines
  }

  private static func background(_ fields: MessageFields) -> [String] {
    var lines = [row("Severity", fields["severity"]), row("Reaction", fields["reaction"])]
    if !fields["runbook"].isEmpty { lines.append(row("Runbook", fields["runbook"])) }
    if !fields["labels"].isEmpty { lines.append(row("Labels", fields["labels"])) }
    return lines
  }

  private static func recent(_ fields: MessageFields) -> [String] {
    guard !fields["recent"].isEmpty else { return [] }
    return ["", "Last values (UTC):"] + fields["recent"].split(separator: "\n").map { "  " + $0 }
  }

  /// Names only commands that exist.
  private static func advice(_ fields: MessageFields, silence: Bool) -> [String] {
    let reaction = PlainText.shellWord(fields["reaction"])
    var lines = ["", "See more:", "  syscrap describe reaction \(reaction)"]
    if !fields["target"].isEmpty {
      lines.append("  syscrap describe target \(PlainText.shellWord(fields["target"]))")
    }
    if silence {
      lines += [
        "Silence: set `enabled: false` in the reaction's document and apply it:",
        "  syscrap get reaction_target \(reaction) -o yaml > reaction.yaml",
        "  syscrap apply -f reaction.yaml",
        "or take it away for good:",
        "  syscrap delete reaction_target \(reaction)",
      ]
    }
    if !fields["episode"].isEmpty { lines += ["", "Episode \(fields["episode"])"] }
    return lines
  }
}
