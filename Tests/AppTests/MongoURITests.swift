internal import App
internal import Foundation
internal import Model
internal import TestKit
internal import Testing

/// What `store: mongodb://…` may say.
@Suite struct MongoURITests {
  private func load(_ text: String, _ environment: [String: String] = [:]) throws -> Reading<Configuration> {
    let folder = try TemporaryDirectory("uri")
    try folder.write("syscrap.yaml", text)
    return Configuration.load(
      .init(path: folder.file("syscrap.yaml"), environment: environment, currentDirectory: folder.path))
  }

  @Test("A URI with several hosts, options in any case and a user comes out whole, without the user")
  func whole() throws {
    let folder = try TemporaryDirectory("uri")
    let password = try folder.write("password", "x\n", permissions: 0o600)
    let reading = try load(
      """
      store: mongodb://moni%40tor@db-1.example.org,[::1]:27018,db-3/sys-crap?REPLICASET=rs0&tls=true&tlsCAFile=/etc/ca.pem
      store_password_file: \(password)
      journal: {maximum: 64MiB}
      """)
    #expect(reading.problems.map(\.description) == [])
    let configuration = try #require(reading.value)
    #expect(
      configuration.store
        == .mongodb(
          uri: "mongodb://db-1.example.org,[::1]:27018,db-3/sys-crap?replicaSet=rs0&tls=true&tlsCAFile=/etc/ca.pem"))
    #expect(configuration.storeUsername == "moni@tor")
    #expect(configuration.journal.maximum == 64 << 20)
    #expect(configuration.hasStore)
  }

  @Test("Everything is overridden by the environment")
  func environment() throws {
    let reading = try load(
      "store: sqlite:x.db\n",
      ["SYSCRAP_STORE": "mongodb://db/syscrap", "SYSCRAP_JOURNAL_MAXIMUM": "2MiB"])
    #expect(reading.problems.map(\.description) == [])
    #expect(reading.value?.store == .mongodb(uri: "mongodb://db/syscrap"))
    #expect(reading.value?.journal.maximum == 2 << 20)
  }

  @Test("A relative path of a certificate starts from the configuration's folder")
  func relativeFile() throws {
    guard case .mongodb(let uri)? = try load("store: mongodb://db/syscrap?tlsCAFile=ca.pem\n").value?.store else {
      Issue.record("no store")
      return
    }
    #expect(uri.hasPrefix("mongodb://db/syscrap?tlsCAFile=/"))
    #expect(uri.hasSuffix("/ca.pem"))
  }

  @Test(
    "What is wrong is said with what to write instead",
    arguments: [
      ("mongodb://u:secret@db/x", "the URI carries a password", "store_password_file"),
      ("mongodb://db", "the URI names no database", "mongodb://…/syscrap"),
      ("mongodb://db/?replicaSet=rs0", "the URI names no database", "mongodb://…/syscrap"),
      ("mongodb:///x", "the URI names no host", "replicaSet"),
      ("mongodb://db:0/x", "\"db:0\" is not host[:port]", "host-1:27017"),
      ("mongodb://a,,b/x", "\"\" is not host[:port]", "host-1:27017"),
      ("mongodb+srv://a:1/x", "mongodb+srv:// takes one name without a port", "DNS"),
      ("mongodb:db/x", "the URI is not complete", "mongodb://db-1"),
      ("mongodb://db/a.b", "\"a.b\" cannot be a database's name", "letters"),
      ("mongodb://db/admin", "the database admin is MongoDB's own", "authSource=admin"),
      ("mongodb://db/x?replicasets=a", "unknown option \"replicasets\" in the URI", "did you mean replicaSet?"),
      ("mongodb://db/x?replicaSet", "the option replicaSet in the URI has no value", "replicaSet=…"),
      ("mongodb://db/x?w=1", "w=\"1\" would break what the store promises", "majority"),
      ("mongodb://db/x?readPreference=secondary", "readPreference=\"secondary\" would break", "primary"),
      ("mongodb://db/x?tlsCertificateKeyFilePassword=secret", "the URI carries a secret", "passphrase"),
    ])
  func refused(text: String, reason: String, hint: String) throws {
    let reading = try load("store: '\(text)'\n")
    #expect(reading.value == nil)
    #expect(reading.problems.count == 1, "\(reading.problems)")
    #expect(reading.problems.first?.path == "store")
    #expect(reading.problems.first?.reason.hasPrefix(reason) == true, "\(reading.problems)")
    #expect(reading.problems.first?.hint?.contains(hint) == true, "\(reading.problems)")
    #expect(!reading.problems.map(\.description).joined().contains("secret@"))
    #expect(!reading.problems.map(\.description).joined().contains("=secret\u{22}"))
  }

  @Test("A user needs a password, and a password a user; a certificate is its own")
  func pairs() throws {
    #expect(
      try load("store: mongodb://db/x\nstore_username: u\n").problems.map(\.path) == ["store_password_file"])
    #expect(
      try load("store: mongodb://db/x\nstore_password_file: p\n").problems.filter { $0.level == .refused }.map(\.path)
        == ["store_username"])
    #expect(
      try load("store: mongodb://a@db/x\nstore_username: b\nstore_password_file: p\n").problems
        .filter { $0.level == .refused }.map(\.path) == ["store"])
    #expect(
      try load("store: mongodb://db/x?authMechanism=MONGODB-X509\nstore_username: CN=syscrap\n").problems.isEmpty)
  }

  @Test("A journal for the embedded store and a server that nobody checks are warned of")
  func warnings() throws {
    #expect(try load("journal: {maximum: 1GiB}\n").problems.map(\.level) == [.warning])
    let reading = try load("store: mongodb://db/x?tlsInsecure=true\n")
    #expect(reading.problems.map(\.level) == [.warning])
    #expect(reading.value != nil)
    #expect(try load("store: mongodb://db/x\njournal: {maximum: 10}\n").value == nil)
  }
}
