internal import FoundationEssentials
internal import Logging
internal import Model

/// Collects what people have to mend: each problem is logged when it appears and every ten minutes while it is there,
/// and can be listed.
///
/// Bound: ``bound`` problems noted at run time; beyond it the oldest is forgotten (it comes back when it is noted again).
actor TroubleDesk {
  static let bound = 500
  static let interval: TimeInterval = 600
  /// A problem noted at run time is gone when nobody has noted it for so long.
  static let memory: TimeInterval = 1500

  private let logger: Logger
  private let now: @Sendable () -> Date
  private var documents: [Problem] = []
  private var files: [Problem] = []
  private var noted: [String: (problem: Problem, last: Date)] = [:]
  private var logged: [String: Date] = [:]

  init(logger: Logger, now: @escaping @Sendable () -> Date) {
    self.logger = logger
    self.now = now
  }

  /// What is wrong with the documents as they are now.
  func set(documents: [Problem]) {
    self.documents = documents
    say()
  }

  /// What is wrong with the files of documents that are kept applied.
  func set(files: [Problem]) {
    self.files = files
    say()
  }

  /// Something that came up at run time.
  func note(_ problem: Problem) {
    let time = now()
    if noted.count >= Self.bound, noted[problem.description] == nil,
      let oldest = noted.min(by: { $0.value.last < $1.value.last })
    {
      noted[oldest.key] = nil
    }
    var dated = problem
    dated.since = noted[problem.description]?.problem.since ?? problem.since ?? time
    noted[problem.description] = (dated, time)
    say()
  }

  /// All that is wrong now, each once.
  func all() -> [Problem] {
    let time = now()
    noted = noted.filter { time.timeIntervalSince($0.value.last) < Self.memory }
    var seen: Set<String> = []
    return (files + documents + noted.values.map(\.problem).sorted { $0.description < $1.description })
      .filter { seen.insert("\($0.kind)/\($0.id)/\($0.path)/\($0.reason)").inserted }
  }

  /// Logs what is new, and what has stood for another ten minutes.
  func say() {
    let time = now()
    let present = all()
    for problem in present {
      let key = problem.description
      if let last = logged[key], time.timeIntervalSince(last) < Self.interval { continue }
      logged[key] = time
      logger.warning("Something needs mending", metadata: ["problem": "\(problem)"])
    }
    let keys = Set(present.map(\.description))
    logged = logged.filter { keys.contains($0.key) }
  }
}
