internal import Glibc
package import Remote

extension Connection {
  /// Runs one command to its end; its deadline counts from the moment it gets a channel.
  ///
  /// - Throws: `.timedOut` in phase `.command`, `.tooManyChannels`, `.invalidCommand`, `.closed` when the task was
  ///   cancelled; anything in phase `.connection` means that the connection has ended.
  package func run(_ command: Command) async throws(RemoteError) -> CommandResult {
    let line = Array(try ShellQuoting.line(command).utf8)
    let results = await perform([
      Job(
        line: line, isRead: false, input: command.input, deadline: command.deadline,
        outputLimit: command.outputLimit, errorLimit: command.errorLimit)
    ])
    guard let result = results.first else { throw goneError }
    return try result.get()
  }

  /// Answers all questions; the reads travel in one command, each other question in a channel of its own.
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
      guard case .read(let path, let limit) = question else { continue }
      if let problem = ReadScript.problem(path) {
        answers[index] = .failed(problem)
      } else {
        reads.append((index, path, min(max(0, limit), RemoteLimits.output)))
      }
    }
    // Reads go first, so that with a single channel they do not wait behind a slow command.
    let scripts = ReadScript.batches(reads.map { ($0.path, $0.limit) })
    for script in scripts {
      jobs.append(
        Job(
          line: script.line, isRead: true, input: [], deadline: RemoteLimits.deadline,
          outputLimit: script.outputLimit, errorLimit: RemoteLimits.errors))
    }
    for (index, question) in questions.enumerated() {
      guard case .run(let command) = question else { continue }
      do throws(RemoteError) {
        jobs.append(
          Job(
            line: Array(try ShellQuoting.line(command).utf8), isRead: false, input: command.input,
            deadline: command.deadline, outputLimit: command.outputLimit, errorLimit: command.errorLimit))
        commands.append(index)
      } catch {
        answers[index] = .failed(error)
      }
    }
    let results = await perform(jobs)
    for case .failure(let error) in results where error.phase == .connection && state == .ended { throw error }
    var position = 0
    for (script, result) in zip(scripts, results) {
      let found = script.answers(result)
      for (offset, answer) in found.enumerated() { answers[reads[position + offset].index] = answer }
      position += found.count
    }
    for (index, result) in zip(commands, results.dropFirst(scripts.count)) {
      switch result {
      case .success(let value): answers[index] = .result(value)
      case .failure(let error): answers[index] = .failed(error)
      }
    }
    return answers.map { $0 ?? .failed(goneError) }
  }

  /// One command for a channel, rendered.
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
    let batch = Batch(count: jobs.count)
    return await withTaskCancellationHandler {
      await withCheckedContinuation { continuation in
        batch.continuation = continuation
        for (index, job) in jobs.enumerated() {
          let exec = submit(
            line: job.line, isRead: job.isRead, input: job.input, deadline: job.deadline,
            outputLimit: max(0, job.outputLimit), errorLimit: max(0, job.errorLimit)
          ) { batch.set(index, $0) }
          if let exec { batch.execs.append(exec) }
        }
        if Task.isCancelled { return cancel(batch) }
        pump()
        for exec in batch.execs where exec.stage == .queued && !exec.isAnswered { limitWait(exec) }
      }
    } onCancel: {
      loop.execute { self.assumeIsolated { $0.cancel(batch) } }
    }
  }

  private func cancel(_ batch: Batch) {
    for exec in batch.execs {
      abort(exec, RemoteError(.closed, phase: .command, "The command was cancelled."))
    }
  }

  /// Collects the results of jobs that were put in line together.
  final class Batch: @unchecked Sendable {
    // Sendable is true: made and then only touched on the connection's loop.
    var continuation: CheckedContinuation<[Result<CommandResult, RemoteError>], Never>?
    var execs: [Exec] = []
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
      execs = []
      continuation?.resume(returning: results.compactMap { $0 })
      continuation = nil
    }
  }
}
