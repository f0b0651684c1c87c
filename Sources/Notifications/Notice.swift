package import FoundationEssentials
package import Model

/// The service's own news: something in the house needs a person.
package struct Notice: Sendable, Hashable {
  /// What it is about: `channel ops`, `Aggregator`. At most one notice an hour leaves for each.
  package var source: String
  /// One sentence.
  package var text: String
  /// What is known beyond that, lines with LF between them.
  package var details: String
  package var severity: Severity
  /// Two notices with the same key within an hour are one, also over a restart. Usually what exactly happened.
  package var dedupeKey: String

  package init(
    source: String, text: String, details: String = "", severity: Severity = .warning, dedupeKey: String = ""
  ) {
    self.source = source
    self.text = text
    self.details = details
    self.severity = severity
    self.dedupeKey = dedupeKey
  }
}

/// Decides which notices pass: for each source one in `interval`; the others are counted and told with the next.
package struct NoticeBook: Sendable {
  package var interval: Duration = .seconds(3600)
  /// How many sources are remembered; beyond it the one that was silent longest is forgotten.
  package var bound = 1000

  private struct Page {
    var last: Date
    var heldBack = 0
  }
  private var pages: [String: Page] = [:]

  package init() {}

  /// - Returns: nil: hold it back; a number: let it pass, so many were held back since the last.
  package mutating func pass(_ source: String, at now: Date) -> Int? {
    // A clock that was set back counts as a new hour: rather one too many than silence.
    if let page = pages[source], now < page.last.advanced(by: interval), now >= page.last {
      pages[source]?.heldBack += 1
      return nil
    }
    let heldBack = pages[source]?.heldBack ?? 0
    if pages[source] == nil, pages.count >= bound, let oldest = pages.min(by: { $0.value.last < $1.value.last })?.key {
      pages[oldest] = nil
    }
    pages[source] = Page(last: now)
    return heldBack
  }

  /// Takes a pass back: the notice could not be queued.
  package mutating func withdraw(_ source: String) {
    pages[source] = nil
  }
}
