internal import CSSH2
internal import Glibc
package import Remote

extension SystemConnection {
  /// Runs one command to its end; its deadline counts from the moment it gets a session.
  ///
  /// - Throws: `.timedOut` in phase `.command`, `.tooManyChannels`, `.invalidCommand`, `.closed` when the task was
  ///   cancelled; anything in phase `.connection` means that the connection has ended.
  package func run(_ command: Command) async throws(RemoteError) -> CommandResult {
    let results = await perform([Job(command, line: Array(try ShellQuoting.line(command).utf8))])
    guard let result = results.first else { throw goneError }
    return try result.get()
  }

  /// Answers all questions; the reads travel together, each other question in a session of its own.
  package func ask(_ questions: [Question]) async throws(RemoteError) -> [Answer] {
    guard questions.count <= RemoteLimits.questions else {
      throw RemoteError(
        .invalidCommand, phase: .command, "\(questions.count) questions at once; \(RemoteLimits.questions) are allowed."
      )
    }
    var answers = [Answer?](repeating: nil, count: questions.count)
    var reads: [(index: Int, path: String, limit: Int)] = []
    var jobs: [Job] = []
    var commands: [Int] = []
    for (index, question) in questions.enumerated() {
      switch question {
      case .read(let path, let limit):
        if let problem = ReadScript.problem(path) {
          answers[index] = .failed(problem)
        } else {
          reads.append((index, path, min(max(0, limit), RemoteLimits.output)))
        }
      case .run(let command):
        do throws(RemoteError) {
          jobs.append(Job(command, line: Array(try ShellQuoting.line(command).utf8)))
          commands.append(index)
        } catch {
          answers[index] = .failed(error)
        }
      }
    }
    // Reads go first, so that with a single session they do not wait behind a slow command.
    let scripts = ReadScript.batches(reads.map { ($0.path, $0.limit) })
    let results = await perform(scripts.map(Self.job) + jobs)
    for case .failure(let error) in results where error.phase == .connection && state == .ended { throw error }
    let found = zip(scripts, results).flatMap { $0.answers($1) }
    for (read, answer) in zip(reads, found) { answers[read.index] = answer }
    for (index, result) in zip(commands, results.dropFirst(scripts.count)) {
      switch result {
      case .success(let value): answers[index] = .result(value)
      case .failure(let error): answers[index] = .failed(error)
      }
    }
    return answers.map { $0 ?? .failed(goneError) }
  }

  /// Files that are read by one command of their own. This is what a resident reader would take over.
  private static func job(_ script: ReadScript) -> Job {
    Job(
      line: script.line, isRead: true, input: [], deadline: RemoteLimits.deadline, outputLimit: script.outputLimit,
      errorLimit: RemoteLimits.errors)
  }

  /// One command for a session, rendered.
  struct Job {
    var line: [UInt8]
    var isRead: Bool
    var input: [UInt8]
    var deadline: Duration
    var outputLimit: Int
    var errorLimit: Int
  }

  /// Puts all jobs in line at once and returns when the last has its result, in order.
  private func perform(_ jobs: [Job]) async -> [Result<CommandResult, RemoteError>] {
    if jobs.isEmpty { return [] }
    let batch = MuxBatch(count: jobs.count)
    return await withTaskCancellationHandler {
      await withCheckedContinuation { continuation in
        batch.continuation = continuation
        for (index, job) in jobs.enumerated() {
          if let session = submit(job, completion: { batch.set(index, $0) }) { batch.sessions.append(session) }
        }
        if Task.isCancelled { return cancel(batch) }
        pump()
        for session in batch.sessions where session.stage == .queued && !session.isAnswered { limitWait(session) }
      }
    } onCancel: {
      loop.execute { self.assumeIsolated { $0.cancel(batch) } }
    }
  }

  private func cancel(_ batch: MuxBatch) {
    for session in batch.sessions {
      abort(session, RemoteError(.closed, phase: .command, "The command was cancelled."))
    }
  }
}

extension SystemConnection.Job {
  init(_ command: Command, line: [UInt8]) {
    self.init(
      line: line, isRead: false, input: command.input, deadline: command.deadline, outputLimit: command.outputLimit,
      errorLimit: command.errorLimit)
  }
}

/// Collects the results of jobs that were put in line together.
private final class MuxBatch: @unchecked Sendable {
  // Sendable is true: made and then only touched on the connection's loop.
  var continuation: CheckedContinuation<[Result<CommandResult, RemoteError>], Never>?
  var sessions: [MuxSession] = []
  private var results: [Result<CommandResult, RemoteError>?]
  private var missing: Int

  init(count: Int) {
    results = Array(repeating: nil, count: count)
    missing = count
  }

  func set(_ index: Int, _ result: Result<CommandResult, RemoteError>) {
    guard results[index] == nil else { return }
    results[index] = result
    missing -= 1
    guard missing == 0 else { return }
    sessions = []
    continuation?.resume(returning: results.compactMap { $0 })
    continuation = nil
  }
}
