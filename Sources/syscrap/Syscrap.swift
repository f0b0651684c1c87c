internal import App
internal import ArgumentParser
internal import Glibc
internal import Model
internal import Storage

@main
struct Syscrap: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "syscrap",
    abstract: "Agentless monitoring: nothing on your servers but sshd.",
    discussion: """
      First steps: 'syscrap quick' watches this machine, 'syscrap quick user@host' others.
      Exit codes: 0 ok, 1 failed, 2 usage, 3 not found or not running, 4 changes exist, 5 denied, 6 unreachable, \
      7 warnings only, 70 the tree restarted too often.
      """,
    version: Version.text,
    subcommands: [
      Quick.self, Run.self, Check.self, Apply.self, Diff.self, Delete.self, Get.self, Describe.self, Tree.self,
      Top.self, Touch.self,
      HistoryCommand.self, ExportCommand.self, ImportCommand.self, Exec.self, Notify.self, Queue.self, Trust.self,
      Privileges.self, Doctor.self, Login.self,
    ])

  static func main() async {
    // A reader that goes away ends the output, not the program in the middle of its work.
    signal(SIGPIPE, SIG_IGN)
    let code = await run(Array(CommandLine.arguments.dropFirst()))
    Glibc.exit(code)
  }

  /// Runs one command line. - Returns: the exit code.
  static func run(_ arguments: [String]) async -> Int32 {
    do {
      var command = try parseAsRoot(arguments)
      if var asynchronous = command as? any AsyncParsableCommand {
        try await asynchronous.run()
      } else {
        try command.run()
      }
      return 0
    } catch let ending as Ending {
      if let message = ending.message, !message.isEmpty { Print.message(message) }
      return ending.code
    } catch let error as OperationError {
      let ending = Ending(error)
      Print.message(ending.message ?? "")
      return ending.code
    } catch let error as StorageError {
      let ending = Ending(OperationError(store: error))
      Print.message(ending.message ?? "")
      return ending.code
    } catch {
      let code = exitCode(for: error)
      let text = fullMessage(for: error)
      if code.isSuccess {
        if !text.isEmpty { Print.result(text) }
        return 0
      }
      Print.message(Terminal.safe(text).replacingEscapedNewlines)
      // ArgumentParser calls a wrong command line 64; the contract calls it 2.
      return code == .validationFailure ? Exit.usage : Exit.failed
    }
  }
}

extension String {
  /// Line breaks of our own messages are kept, whatever else was escaped.
  var replacingEscapedNewlines: String {
    split(separator: "\\x0a", omittingEmptySubsequences: false).joined(separator: "\n")
  }
}
