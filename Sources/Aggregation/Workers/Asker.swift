internal import Remote

/// Joins what the wrappers of one target ask at the same time.
///
/// All questions that arrive within a short window after the first become one `Remote.ask`: equal ones are asked once
/// and answered to all. Commands are the exception. `Remote.ask` returns when its last answer is there, and a command
/// such as df may take its whole deadline while files under /proc answer at once; so each command travels alone, and
/// harms nobody when it hangs. A command that is under way already is not started again: who asks for it meanwhile gets
/// its answer too.
actor Asker {
  private struct Submission {
    var questions: [Question]
    var answers: [Question: Answer] = [:]
    let continuation: AsyncStream<Result<[Answer], RemoteError>>.Continuation
  }

  /// One `Remote.ask` under way.
  private struct Flight {
    var questions: [Question]
    var passengers: [Int]
    var overdueAt: Duration
    var task: Task<Void, Never>?
  }

  /// How long the first of several waits for the others. Ticks coincide, so they come within a millisecond or so.
  static let window: Duration = .milliseconds(20)
  /// The transport keeps the deadlines; a flight that is later than they by this much is given up.
  private static let grace: Duration = .seconds(15)

  private let link: Link
  private let timeline: Timeline
  private let window: Duration
  /// At most one for each wrapper: none asks twice at a time.
  private var submissions: [Int: Submission] = [:]
  private var gathering: [Int] = []
  /// Bounded by the wrappers: each has at most one submission, which is at most one flight of files and one a command.
  private var flights: [Int: Flight] = [:]
  private var commands: [Question: Int] = [:]
  private var nextNumber = 0
  private var opening: Task<Void, Never>?

  init(link: Link, timeline: Timeline, window: Duration = Asker.window) {
    self.link = link
    self.timeline = timeline
    self.window = window
  }

  /// One answer for each question, in order.
  /// - Throws: at once when there is no connection; when it fails meanwhile; on cancellation.
  func ask(_ questions: [Question]) async throws(RemoteError) -> [Answer] {
    guard !questions.isEmpty else { return [] }
    _ = try await link.remote()
    let number = makeNumber()
    let (stream, continuation) = AsyncStream.makeStream(
      of: Result<[Answer], RemoteError>.self, bufferingPolicy: .bufferingOldest(1))
    submissions[number] = Submission(questions: questions, continuation: continuation)
    gathering.append(number)
    if opening == nil {
      opening = Task { [timeline, window] in
        try? await timeline.sleep(timeline.now() + window)
        await self.depart()
      }
    }
    for await result in stream { return try result.get() }
    // Only cancellation ends the stream without an answer.
    submissions[number] = nil
    throw RemoteError(.closed, phase: .command, "cancelled")
  }

  /// Nobody will ask again.
  func close() {
    opening?.cancel()
    for flight in flights.values { flight.task?.cancel() }
    let error = RemoteError(.closed, phase: .connection, "closed")
    for number in Array(submissions.keys) { answer(number, .failure(error)) }
  }

  /// How many wait for the window to close.
  var gatheredCount: Int { gathering.count }

  private func makeNumber() -> Int {
    nextNumber += 1
    return nextNumber
  }

  /// The window has closed: everything gathered leaves.
  private func depart() async {
    let remote: any Remote
    do {
      remote = try await link.remote()
    } catch {
      opening = nil
      let numbers = gathering
      gathering = []
      for number in numbers { answer(number, .failure(error)) }
      return
    }
    opening = nil
    let numbers = gathering.filter { submissions[$0] != nil }
    gathering = []
    dropOverdue()
    var files: [Question] = []
    var seen: Set<Question> = []
    for number in numbers {
      for question in submissions[number]?.questions ?? [] {
        switch question {
        case .read: if seen.insert(question).inserted { files.append(question) }
        case .run:
          if let flight = commands[question] {
            flights[flight]?.passengers.append(number)
          } else {
            commands[question] = launch([question], numbers: [number], over: remote)
          }
        }
      }
    }
    while !files.isEmpty {
      let batch = Array(files.prefix(RemoteLimits.questions))
      files.removeFirst(batch.count)
      let asked = Set(batch)
      let passengers = numbers.filter { submissions[$0]?.questions.contains { asked.contains($0) } ?? false }
      _ = launch(batch, numbers: passengers, over: remote)
    }
  }

  private func launch(_ questions: [Question], numbers: [Int], over remote: any Remote) -> Int {
    let flight = makeNumber()
    let deadline = questions.reduce(RemoteLimits.deadline) { longest, question in
      if case .run(let command) = question { max(longest, command.deadline) } else { longest }
    }
    flights[flight] = Flight(
      questions: questions, passengers: numbers, overdueAt: timeline.now() + deadline + Self.grace)
    flights[flight]?.task = Task {
      let result: Result<[Answer], RemoteError>
      do throws(RemoteError) {
        result = .success(try await remote.ask(questions))
      } catch {
        result = .failure(error)
        // Its end is made certain, so that the keeper sees it.
        if error.phase == .connection { await remote.close() }
      }
      self.land(flight, result)
    }
    return flight
  }

  private func land(_ number: Int, _ result: Result<[Answer], RemoteError>) {
    guard let flight = flights.removeValue(forKey: number) else { return }
    for question in flight.questions where commands[question] == number { commands[question] = nil }
    switch result {
    case .success(let answers) where answers.count == flight.questions.count:
      for passenger in flight.passengers {
        for (question, answer) in zip(flight.questions, answers)
        where submissions[passenger]?.questions.contains(question) ?? false {
          submissions[passenger]?.answers[question] = answer
        }
        finish(passenger)
      }
    case .success(let answers):
      let error = RemoteError(
        .protocolError, phase: .command, "\(answers.count) answers came to \(flight.questions.count) questions")
      for passenger in flight.passengers { answer(passenger, .failure(error)) }
    case .failure(let error):
      for passenger in flight.passengers { answer(passenger, .failure(error)) }
    }
  }

  private func finish(_ number: Int) {
    guard let submission = submissions[number] else { return }
    let answers = submission.questions.compactMap { submission.answers[$0] }
    if answers.count == submission.questions.count { answer(number, .success(answers)) }
  }

  private func answer(_ number: Int, _ result: Result<[Answer], RemoteError>) {
    guard let submission = submissions.removeValue(forKey: number) else { return }
    submission.continuation.yield(result)
    submission.continuation.finish()
  }

  /// Flights that a broken transport never ended; without this a command could never be asked again.
  private func dropOverdue() {
    let now = timeline.now()
    for (number, flight) in flights where flight.overdueAt < now {
      flight.task?.cancel()
      land(number, .failure(RemoteError(.timedOut, phase: .command, "no answer came within the deadline")))
    }
  }
}
