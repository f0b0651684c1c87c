internal import App
internal import ArgumentParser
internal import Foundation
internal import Glibc
internal import Model

struct Exec: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Run a command on a target over its shared connection (needs ssh.allow_exec).",
    usage: "syscrap exec <target> -- <command> ...")
  @OptionGroup var common: CommonOptions
  @Argument(help: "The target's name.") var target: String
  @Argument(parsing: .postTerminator, help: "The command and its arguments, after '--'.") var command: [String] = []

  func validate() throws {
    if command.isEmpty { throw ValidationError("give the command after '--': syscrap exec \(target) -- uptime") }
  }

  func run() async throws {
    let answer = try await common.service().post(
      ["exec"], body: ["target": .string(target), "arguments": .array(command.map(Value.string))])
    func bytes(_ name: String) -> [UInt8] {
      answer[name]?.text.flatMap { Data(base64Encoded: $0) }.map(Array.init) ?? []
    }
    emit(bytes("output"), STDOUT_FILENO)
    emit(bytes("errors"), STDERR_FILENO)
    if answer["is_truncated"]?.flag == true {
      throw Ending(
        Exit.failed, "syscrap: the output passed its limit (1 MiB, 64 KiB of errors); the command was ended there")
    }
    if let signal = answer["signal"]?.text { throw Ending(Exit.failed, "syscrap: ended by signal \(signal)") }
    let status = answer["status"]?.integer ?? 0
    if status != 0 { throw Ending(Exit.failed, "syscrap: the command's exit status was \(status)") }
  }

  /// To a terminal nothing goes raw; to a file or a pipe every byte as it came.
  private func emit(_ bytes: [UInt8], _ descriptor: Int32) {
    guard !bytes.isEmpty else { return }
    guard Terminal.output(descriptor).isTerminal else { return Print.raw(bytes, to: descriptor) }
    let lines = String(decoding: bytes, as: UTF8.self).split(separator: "\n", omittingEmptySubsequences: false)
    Print.raw(Array(lines.map { Terminal.safe(String($0)) }.joined(separator: "\n").utf8), to: descriptor)
  }
}

struct Notify: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Prove that messages arrive.", subcommands: [Test.self])

  struct Test: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Send a test message by one notification_options document.")
    @OptionGroup var common: CommonOptions
    @OptionGroup var format: OutputOptions
    @Argument(help: "The _id of a notification_options document.") var name: String

    func run() async throws {
      let report = try await common.service().post(["notify", "test"], body: ["option": .string(name)])
      if format.output == .json {
        Print.result(report.json(indent: 2))
      } else {
        Print.result(Outline.text(report, on: .output()))
      }
      if report["outcome"]?.text != "delivered" { throw Ending(Exit.failed, "the test message was not delivered") }
    }
  }
}

struct Queue: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Look into and act on the queue of notifications.",
    subcommands: [List.self, Show.self, Retry.self, Drop.self])

  static func check(_ id: String) throws {
    if id.isEmpty { throw ValidationError("the entry's _id is empty; 'syscrap queue ls' shows them") }
  }

  struct List: AsyncParsableCommand {
    static let configuration = CommandConfiguration(commandName: "ls", abstract: "The entries, newest first.")
    @OptionGroup var common: CommonOptions
    @OptionGroup var format: OutputOptions
    @Option(name: .long, help: "Only this state: pending, leased, delivered, dead, merged.") var state: String?
    @Option(name: .long, help: "At most so many.") var limit: Int = 200

    func run() async throws {
      if let state, QueueEntry.State(rawValue: state) == nil {
        throw Ending(
          Exit.usage, "--state must be one of \(QueueEntry.State.allCases.map(\.rawValue).joined(separator: ", "))")
      }
      let limit = limit
      var entries = try await common.serviceOrStore { client in
        try await client.get(["objects", "notifications"], query: [("limit", String(limit))]).elements ?? []
      } store: { desk in
        try await desk.get(kind: "notifications", name: nil, labels: [:], limit: limit)
      }
      if let state { entries = entries.filter { $0["state"]?.text == state } }
      let text = ObjectOutput.text(entries, collection: "notifications", format: format.output, terminal: .output())
      if text.isEmpty { Print.message("none") } else { Print.result(text) }
    }
  }

  struct Show: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "One entry with its payload and every attempt.")
    @OptionGroup var common: CommonOptions
    @OptionGroup var format: OutputOptions
    @Argument(help: "The entry's _id.") var id: String

    func validate() throws { try Queue.check(id) }

    func run() async throws {
      let id = id
      let found = try await common.serviceOrStore { client in
        try await client.get(["objects", "notification", id]).elements ?? []
      } store: { desk in
        try await desk.get(kind: "notification", name: id, labels: [:], limit: 1)
      }
      guard let entry = found.first else {
        throw Ending(Exit.notFound, "there is no notification \(Terminal.safe(id))")
      }
      Print.result(format.output == .json ? entry.json(indent: 2) : Outline.text(entry, on: .output()))
    }
  }

  struct Retry: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Make a pending or dead entry due now.")
    @OptionGroup var common: CommonOptions
    @Argument(help: "The entry's _id.") var id: String

    func validate() throws { try Queue.check(id) }

    func run() async throws {
      _ = try await common.service().post(["queue", id, "retry"])
      Print.result(Terminal.safe("notifications/\(id) due now"))
    }
  }

  struct Drop: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Give an entry up; it stays in the ledger as dead.")
    @OptionGroup var common: CommonOptions
    @Argument(help: "The entry's _id.") var id: String
    @Option(name: .long, help: "Why; written into the ledger.") var reason: String = "dropped by hand"

    func validate() throws { try Queue.check(id) }

    func run() async throws {
      _ = try await common.service().post(["queue", id, "drop"], body: ["reason": .string(reason)])
      Print.result(Terminal.safe("notifications/\(id) dropped"))
    }
  }
}

struct Login: AsyncParsableCommand {
  static let configuration = CommandConfiguration(abstract: "Print the page's address with a one-time token.")
  @OptionGroup var common: CommonOptions

  func run() async throws {
    let client = try await common.service()
    let answer = try await client.post(["login-token"])
    guard let token = answer["token"]?.text else { throw Ending(Exit.failed, "the service gave no token") }
    Print.result("\(client.address)/login?token=\(token)")
  }
}
