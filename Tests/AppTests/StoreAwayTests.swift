internal import Foundation
internal import Model
internal import TestKit
internal import Testing

/// Commands and the service where the store is away, refuses the user, or cannot be what the address says.
@Suite(.serialized) struct StoreAwayTests {
  private let program: SyscrapProcess
  init() throws { program = try SyscrapProcess() }

  private static let document = "{kind: target, target: web, host: 192.0.2.1}\n"
  /// Everything that works straight on the store.
  private static let commands = [
    ["get", "targets"], ["history", "web", "Vitals.CPU"], ["queue", "ls"], ["apply", "-f", "-"], ["diff", "-f", "-"],
    ["delete", "target", "web"], ["export"],
  ]
  /// Nobody listens on port 1.
  private static let nobody = "mongodb://127.0.0.1:1/syscrap?serverSelectionTimeoutMS=300"

  @Test("A store that cannot be reached is 6 for every command that works on it, with its place", arguments: commands)
  func away(_ arguments: [String]) async throws {
    let done = try await program.run(arguments, input: Self.document, environment: ["SYSCRAP_STORE": Self.nobody])
    #expect(done.status == 6, "\(done.errorText)")
    #expect(done.text == "")
    #expect(done.errorText.contains("mongodb://127.0.0.1:1/syscrap"), "\(done.errorText)")
    #expect(done.errorText.contains("is mongod running"), "\(done.errorText)")
  }

  @Test("While the store is away 'top' says so, and since when, and not that there is no target")
  func top() async throws {
    try program.configure("store: '\(Self.nobody)'")
    try await program.start()
    let top = try await program.run(["top"])
    #expect(top.status == 0, "\(top.errorText)")
    let year = Calendar(identifier: .gregorian).component(.year, from: Date())
    #expect(top.text.hasPrefix("no targets are known: the store is away since \(year)-"), "\(top.text)")
    #expect(top.lines.count == 1, "\(top.text)")
    await program.stop()
  }

  @Test("Where no target was ever applied 'top' says how")
  func none() async throws {
    try await program.start()
    let top = try await program.run(["top"])
    #expect(top.text == "no targets yet: 'syscrap apply -f FILE' adds some\n")
    await program.stop()
  }

  @Test("A file of certificates that is not there is named at once")
  func file() async throws {
    let missing = program.directory.file("no-ca.pem")
    let done = try await program.run(
      ["get", "targets"],
      environment: ["SYSCRAP_STORE": "mongodb://127.0.0.1:1/syscrap?tls=true&tlsCAFile=\(missing)"])
    #expect(done.status == 1)
    #expect(
      done.errorText.contains("tlsCAFile \(missing) cannot be read: No such file or directory"), "\(done.errorText)")
  }

  @Test(
    "A store that refuses the user is 5; 'doctor' tells what the deployment can do",
    .enabled(if: MongoServer.isExpected, "needs mongod"))
  func denied() async throws {
    let user = MongoServer.User(name: "syscrap", password: "right")
    let server = try await MongoServer.start(.replicaSet(1), user: user)
    var environment = [
      "SYSCRAP_STORE": server.uri(database: "syscrap"), "SYSCRAP_STORE_USERNAME": user.name,
      "SYSCRAP_STORE_PASSWORD_FILE": try program.directory.write("wrong", "wrong\n", permissions: 0o600),
    ]
    for arguments in Self.commands {
      let done = try await program.run(arguments, input: Self.document, environment: environment)
      #expect(done.status == 5, "\(arguments): \(done.errorText)")
      #expect(done.text == "")
      #expect(done.errorText.contains("check store_username"), "\(done.errorText)")
    }
    environment["SYSCRAP_STORE_PASSWORD_FILE"] = try program.directory.write("right", "right\n", permissions: 0o600)
    let doctor = try await program.run(["doctor", "-o", "json"], environment: environment)
    let store = try Value(json: doctor.output).elements?.first { $0["area"] == "store" }
    #expect(store?["state"] == "ok")
    #expect(store?["found"]?.text?.contains("change_streams true") == true, "\(doctor.text)")
    #expect(store?["found"]?.text?.contains("watching") == false, "\(doctor.text)")
    await server.end()
  }

  @Test(
    "Another replica set's name, and another spelling of the database, are said with advice; without a set nothing streams",
    .enabled(if: MongoServer.isExpected, "needs mongod"))
  func names() async throws {
    let server = try await MongoServer.shared()
    let other = server.uri(database: "syscrap", options: ["serverSelectionTimeoutMS=500"])
      .replacingOccurrences(of: "replicaSet=test", with: "replicaSet=rs-9")
    let set = try await program.run(["get", "targets"], environment: ["SYSCRAP_STORE": other])
    #expect(set.status == 6)
    #expect(set.errorText.contains("is rs-9 the name of the replica set there?"), "\(set.errorText)")

    let database = MongoServer.freshDatabase("spelling")
    for (name, status) in [(database, 0), (database.uppercased(), 1)] as [(String, Int32)] {
      let done = try await program.run(
        ["get", "targets"], environment: ["SYSCRAP_STORE": server.uri(database: name)])
      #expect(done.status == status, "\(done.errorText)")
      if status != 0 { #expect(done.errorText.contains("upper and lower case count"), "\(done.errorText)") }
    }

    let alone = try await MongoServer.shared(.standalone)
    let doctor = try await program.run(
      ["doctor", "-o", "json"], environment: ["SYSCRAP_STORE": alone.uri(database: MongoServer.freshDatabase("doctor"))]
    )
    #expect(doctor.text.contains("change_streams false"), "\(doctor.text)")
  }
}
