import Testing

@testable import Transfer

@Suite struct RelayTests {
  @Test("A relay's URI says how the way is protected, and the port follows from that") func forms() throws {
    let read = try ["smtp://mail.example.org", "SMTPS://[::1]", "smtp+plain://localhost:2525/"].map { try Relay($0) }
    #expect(
      read.map(\.description) == [
        "smtp://mail.example.org:587", "smtps://[::1]:465", "smtp+plain://localhost:2525",
      ])
    #expect(read.map(\.security) == [.startTLS, .implicitTLS, .plain])
  }

  @Test(
    "A relay's URI with credentials, another scheme, a path or no host is refused without repeating it",
    arguments: [
      "smtp://user:hunter2@mail.example.org", "smtp://user@mail.example.org", "http://mail.example.org",
      "smtp+tls://mail.example.org", "smtp://", "mail.example.org:587", "smtp://mail.example.org/inbox",
      "smtp://mail.example.org?x=1", "smtp://mail.example.org:0", "smtp://mail.example.org:65536",
      "smtp://mail.example.org\r\nRCPT", "", "smtp://a b",
    ])
  func refusals(_ text: String) throws {
    let error = try #require(throws: TransferError.self) { try Relay(text) }
    #expect(error.code == .invalidRequest)
    #expect(error.isPermanent)
    #expect(!error.message.contains("hunter2"))
  }
}
