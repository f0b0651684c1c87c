internal import Foundation

/// A mail server without TLS and accounts that takes everything and tells only what is needed to count: for thousands
/// of mails, where ``SMTPServer`` would keep every command.
package final class MailCounter: Sendable {
  package struct Mail: Sendable {
    /// The Message-ID without its brackets.
    package var id: String
    package var subject: String
  }

  private struct Record: Decodable {
    var port: UInt16?
    var id: String?
    var subject: String?
  }

  package let port: UInt16
  private let process: ManagedProcess

  private init(process: ManagedProcess, port: UInt16) {
    self.process = process
    self.port = port
  }

  /// - Parameter delay: how long the server takes to say yes to a mail.
  package static func start(delay: Duration = .zero) async throws -> MailCounter {
    let seconds = Double(delay.components.attoseconds) / 1e18 + Double(delay.components.seconds)
    let process = try ManagedProcess([PythonEnvironment.required(), "-u", "-c", script, "\(seconds)"])
    let ready = try await process.line(within: .seconds(30)) { $0.hasPrefix("{\"port\"") }
    guard let port = try JSONDecoder().decode(Record.self, from: Data(ready.utf8)).port else {
      throw ManagedProcessError("no port in \(ready)")
    }
    return MailCounter(process: process, port: port)
  }

  package func stop() async { await process.stop() }

  /// Hands every mail to `body` as it comes, until this task is cancelled.
  package func follow(_ body: @Sendable (Mail) async -> Void) async {
    var index = 0
    while !Task.isCancelled {
      guard let found = try? await process.lines.first(from: index, within: .seconds(1)) else { continue }
      index = found.position + 1
      if let record = try? JSONDecoder().decode(Record.self, from: Data(found.element.utf8)), let id = record.id {
        await body(Mail(id: id, subject: record.subject ?? ""))
      }
    }
  }

  private static let script = #"""
    import asyncio, email.parser, email.policy, json, os, sys
    from aiosmtpd.smtp import SMTP

    delay = float(sys.argv[1])

    class Handler:
        async def handle_DATA(self, server, session, envelope):
            head = email.parser.BytesHeaderParser(policy=email.policy.default).parsebytes(envelope.content)
            if delay:
                await asyncio.sleep(delay)
            os.write(1, (json.dumps({"id": str(head["Message-ID"] or "").strip("<> "),
                                     "subject": str(head["Subject"] or "")}) + "\n").encode())
            return "250 taken"

    async def main():
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: SMTP(Handler(), hostname="counter.example.org"), "127.0.0.1", 0, backlog=512)
        os.write(1, (json.dumps({"port": server.sockets[0].getsockname()[1]}) + "\n").encode())
        # The owner's end closes our input.
        loop.add_reader(sys.stdin.fileno(), lambda: os._exit(0) if not os.read(0, 1) else None)
        await server.serve_forever()

    asyncio.run(main())
    """#
}
