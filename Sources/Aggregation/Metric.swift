package import FoundationEssentials
package import Model
package import Remote

/// One kind of thing that is gathered: it states questions as values and turns the answers into readings.
///
/// A metric never waits and never speaks to a host. It is a value that keeps, in itself, what it must remember between
/// two readings, such as counters; a new life begins with a new value. A new metric is one file and one line in
/// ``MetricRegistry``.
package protocol Metric: Sendable {
  /// As documents write it, e.g. `Vitals.CPU`.
  static var name: String { get }
  /// The options it reads, besides `interval` and `name`.
  static var options: Set<String> { get }

  /// - Throws: ``MetricRefused`` with the option at fault.
  init(plan: MetricPlan) throws(MetricRefused)

  /// What has to be known now. `host` is nil until the host has told what it is.
  /// - Returns: any number of questions; equal ones of several metrics are asked once.
  mutating func questions(_ host: HostFacts?) -> [Question]

  /// Every question it may ever ask, whatever the host is and answers: what the account on the target must be allowed to
  /// do. A test runs each metric through good and bad answers and sees that it asks these and nothing else.
  var needs: [Question] { get }

  /// What the answers, one for each of the last ``questions(_:)`` in order, say. Any bytes are possible in them.
  mutating func gathered(from answers: [Answer], at moment: Moment) -> [Gathered]
}

/// What a metric makes of answers.
package enum Gathered: Sendable, Hashable {
  /// An RT sample.
  case value(Value)
  /// Something that happened: an event sample.
  case event(Value)
  /// An RT sample that says what could not be gathered, and why.
  case error(String)
  /// There is a value, but it is not worth storing: the metric saves on change.
  case unchanged
  /// Nothing can be said before a second look, for which the next tick would be too late. Honoured once a tick.
  case again(after: Duration)
  /// The host's load of one minute, divided by its cores.
  case load(Double)
  /// What the host is, where the metric found out.
  case facts(HostFacts)
}

/// When answers were taken, on two clocks.
package struct Moment: Sendable, Hashable {
  /// UTC, when the answers had come; the sample's time.
  package var at: Date
  /// How long they were under way: what the answers say was true at some time within it before `at`.
  package var latency: Duration
  /// The monitor's monotonic time.
  package var elapsed: Duration

  package init(at: Date, latency: Duration = .zero, elapsed: Duration = .zero) {
    self.at = at
    self.latency = latency
    self.elapsed = elapsed
  }
}

/// Why a metric cannot run with its options.
package struct MetricRefused: Error, Hashable {
  /// The path below the metric, e.g. `files`; empty for the metric itself.
  package var path: String
  package var reason: String
  package var hint: String?

  package init(path: String, reason: String, hint: String? = nil) {
    self.path = path
    self.reason = reason
    self.hint = hint
  }
}

extension Answer {
  /// The whole content of a file.
  /// - Throws: when it could not be read, or not to its end.
  func bytes(of source: String) throws(Unreadable) -> [UInt8] {
    switch self {
    case .content(let bytes, isTruncated: false):
      if bytes.isEmpty { throw Unreadable("\(source) is empty") }
      return bytes
    case .content(let bytes, isTruncated: true):
      throw Unreadable("\(source) was cut after \(bytes.count) bytes")
    case .failed(let error): throw Unreadable("\(source) could not be read: \(error)")
    case .result: throw Unreadable("\(source): a command's result came instead of the file")
    }
  }
}

/// The answers of one reading, by what was asked.
struct Answers {
  private let answers: [Answer]
  private let questions: [Question]

  init(_ answers: [Answer], to questions: [Question]) {
    self.answers = answers
    self.questions = questions
  }

  func file(_ path: String) throws(Unreadable) -> [UInt8] {
    guard let question = questions.first(where: { $0.path == path }), let answer = answer(to: question) else {
      throw Unreadable("\(path): no answer came")
    }
    return try answer.bytes(of: path)
  }

  func answer(to question: Question) -> Answer? {
    guard let index = questions.firstIndex(of: question), answers.indices.contains(index) else { return nil }
    return answers[index]
  }
}

extension Question {
  var path: String? { if case .read(let path, _) = self { path } else { nil } }
}
