import Logging
import TestKit
import Testing

@testable import Transfer

/// Certificates that all tests of a run share: made once, removed with the process's temporary files.
let sharedCertificates = Task { try await Certificates.make() }

func makeEngine(_ configuration: TransferEngine.Configuration = .init()) throws -> TransferEngine {
  try TransferEngine(configuration: configuration, logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
}

func message(_ subject: String = "Test", body: String = "Hello\r\n") -> [UInt8] {
  Array("From: syscrap@example.org\r\nTo: ops@example.org\r\nSubject: \(subject)\r\n\r\n\(body)".utf8)
}

func mail(
  _ relay: String, port: UInt16, recipient: String = "ops@example.org", message: [UInt8] = message()
) throws -> MailTransfer {
  MailTransfer(
    relay: try Relay("\(relay)://localhost:\(port)"), from: "syscrap@example.org", recipient: recipient,
    message: message)
}

/// The error that a transfer ends with; nil when it succeeds.
func failure(
  _ engine: TransferEngine, _ mail: MailTransfer
) async -> TransferError? {
  do throws(TransferError) {
    _ = try await engine.send(mail)
    return nil
  } catch {
    return error
  }
}

func failure(_ engine: TransferEngine, _ request: HTTPRequest) async -> TransferError? {
  do throws(TransferError) {
    _ = try await engine.perform(request)
    return nil
  } catch {
    return error
  }
}
