internal import CSSH2
internal import Glibc
package import Remote

extension Connection {
  /// Runs one command to its end; its deadline counts from the moment it gets its turn.
  ///
  /// - Throws: `.timedOut` in phase `.command`, `.tooManyChannels`, `.invalidCommand`, `.closed` when the task was
  ///   cancelled; anything in phase `.connection` means that the connection has ended.
  package func run(_ command: Command) async throws(RemoteError) -> CommandResult {
    let job = try Job(command)
    guard case .result(let result)? = await perform(files: nil, [job]).first else { throw goneError }
    return try result.get()
  }

  /// Answers all questions: files by the resident reader in one request, commands beside.
  package func ask(_ questions: [Question]) async throws(RemoteError) -> [Answer] {
    guard questions.count <= RemoteLimits.questions else {
      throw RemoteError(
        .invalidCommand, phase: .command, "\(questions.count) questions at once; \(RemoteLimits.questions) are allowed."
      )
    }
    guard state == .open else { throw goneError }
    if let files = Self.plainFiles(questions) { return try await ask(files) }
    var failures: [(index: Int, error: RemoteError)] = []
    var files: [ResidentReader.File] = []
    files.reserveCapacity(questions.count)
    var jobs: [Job] = []
    for (index, question) in questions.enumerated() {
      switch question {
      case .read(let path, let limit):
        if let problem = ReadScript.problem(path) {
          failures.append((index, problem))
        } else {
          files.append(ResidentReader.File(path: path, limit: min(max(0, limit), RemoteLimits.output)))
        }
      case .run(let command):
        do throws(RemoteError) {
          jobs.append(try Job(command))
        } catch {
          failures.append((index, error))
        }
      }
    }
    let outcomes = await perform(files: files.isEmpty ? nil : files, jobs)
    if state == .ended {
      for case .result(.failure(let error)) in outcomes where error.phase == .connection { throw error }
      for case .answers(let found) in outcomes {
        for case .failed(let error) in found where error.phase == .connection { throw error }
      }
    }
    var commands = outcomes[...]
    var found: [Answer] = []
    if !files.isEmpty, case .answers(let answers)? = commands.popFirst() { found = answers }
    // Nearly always there are files only, and what came is what was asked.
    if failures.isEmpty, jobs.isEmpty, found.count == questions.count { return found }
    var next = found[...]
    var failed = failures[...]
    return questions.indices.map { index in
      if failed.first?.index == index, let failure = failed.popFirst() { return .failed(failure.error) }
      if case .read = questions[index] { return next.popFirst() ?? .failed(goneError) }
      guard case .result(let result)? = commands.popFirst() else { return .failed(goneError) }
      switch result {
      case .success(let value): return .result(value)
      case .failure(let error): return .failed(error)
      }
    }
  }

  /// The files of questions that are nothing else, each of which can be asked for: what nearly every poll is.
  private static func plainFiles(_ questions: [Question]) -> [ResidentReader.File]? {
    var files: [ResidentReader.File] = []
    files.reserveCapacity(questions.count)
    for question in questions {
      guard case .read(let path, let limit) = question, ReadScript.problem(path) == nil else { return nil }
      files.append(ResidentReader.File(path: path, limit: min(max(0, limit), RemoteLimits.output)))
    }
    return files.isEmpty ? nil : files
  }

  private func ask(_ files: [ResidentReader.File]) async throws(RemoteError) -> [Answer] {
    let waiting = Waiting()
    let answers = await withTaskCancellationHandler {
      await withCheckedContinuation { continuation in
        waiting.continuation = continuation
        if Task.isCancelled { return cancel(waiting, files.count) }
        let request = read(files) { waiting.finish($0) }
        if waiting.continuation != nil { waiting.request = request }
        pump()
        limitReaderWait()
      }
    } onCancel: {
      loop.execute { self.assumeIsolated { $0.cancel(waiting, files.count) } }
    }
    if state == .ended {
      for case .failed(let error) in answers where error.phase == .connection { throw error }
    }
    return answers
  }

  private func cancel(_ waiting: Waiting, _ count: Int) {
    if let request = waiting.request { abandon(request) }
    let error = RemoteError(.closed, phase: .command, "The question was cancelled.")
    waiting.finish([Answer](repeating: .failed(error), count: count))
  }

  /// Who asked for files alone.
  private final class Waiting: @unchecked Sendable {
    // Sendable is true: made and then only touched on the connection's loop.
    var continuation: CheckedContinuation<[Answer], Never>?
    var request: FileRequest?

    func finish(_ answers: [Answer]) {
      request = nil
      continuation?.resume(returning: answers)
      continuation = nil
    }
  }

  /// One command, rendered.
  struct Job {
    var line: [UInt8]
    var input: [UInt8]
    var deadline: Duration
    var outputLimit: Int
    var errorLimit: Int

    init(_ command: Command) throws(RemoteError) {
      line = Array(try ShellQuoting.line(command).utf8)
      input = command.input
      deadline = command.deadline
      outputLimit = max(0, command.outputLimit)
      errorLimit = max(0, command.errorLimit)
    }
  }

  enum JobOutcome {
    case answers([Answer])
    case result(Result<CommandResult, RemoteError>)
  }

  /// Puts all in line at once and returns when the last has its result: that of the files first, then the commands'.
  private func perform(files: [ResidentReader.File]?, _ jobs: [Job]) async -> [JobOutcome] {
    let count = jobs.count + (files == nil ? 0 : 1)
    if count == 0 { return [] }
    let batch = Batch(count: count)
    return await withTaskCancellationHandler {
      await withCheckedContinuation { continuation in
        batch.continuation = continuation
        if Task.isCancelled {
          let error = RemoteError(.closed, phase: .command, "The command was cancelled.")
          if let files { batch.set(0, .answers(files.map { _ in .failed(error) })) }
          for index in (count - jobs.count)..<count { batch.set(index, .result(.failure(error))) }
          return
        }
        // Files go first, so that with a single channel they do not wait behind a slow command.
        if let files {
          let request = read(files) { batch.set(0, .answers($0)) }
          if batch.continuation != nil { batch.request = request }
        }
        for (index, job) in jobs.enumerated() { start(job, batch, index + count - jobs.count) }
        pump()
        for exec in batch.execs where exec.stage == .queued && !exec.isAnswered { limitWait(exec) }
        limitReaderWait()
      }
    } onCancel: {
      loop.execute { self.assumeIsolated { $0.cancel(batch) } }
    }
  }

  private func start(_ job: Job, _ batch: Batch, _ index: Int) {
    // The reader's commands have no stdin.
    if job.input.isEmpty, job.outputLimit <= RemoteLimits.output, job.errorLimit <= RemoteLimits.output, canReaderRun {
      let command = ReaderCommand(
        line: job.line, deadline: job.deadline, outputLimit: job.outputLimit, errorLimit: job.errorLimit
      ) { batch.set(index, .result($0)) }
      batch.commands.append(command)
      return run(command)
    }
    let exec = submit(
      line: job.line, isRead: false, input: job.input, deadline: job.deadline, outputLimit: job.outputLimit,
      errorLimit: job.errorLimit
    ) { batch.set(index, .result($0)) }
    if let exec { batch.execs.append(exec) }
  }

  private func cancel(_ batch: Batch) {
    let error = RemoteError(.closed, phase: .command, "The command was cancelled.")
    let request = batch.request
    if let request {
      abandon(request)
      batch.set(0, .answers(request.files.map { _ in .failed(error) }))
    }
    for command in batch.commands { cancel(command, error) }
    for exec in batch.execs { abort(exec, error) }
  }

  /// Collects the results of jobs that were put in line together.
  final class Batch: @unchecked Sendable {
    // Sendable is true: made and then only touched on the connection's loop.
    var continuation: CheckedContinuation<[JobOutcome], Never>?
    var request: FileRequest?
    var commands: [ReaderCommand] = []
    var execs: [Exec] = []
    private var results: [JobOutcome?]
    private var missing: Int

    init(count: Int) {
      results = Array(repeating: nil, count: count)
      missing = count
    }

    func set(_ index: Int, _ result: JobOutcome) {
      guard results[index] == nil else { return }
      results[index] = result
      missing -= 1
      guard missing == 0 else { return }
      request = nil
      commands = []
      execs = []
      continuation?.resume(returning: results.compactMap { $0 })
      continuation = nil
    }
  }
}
