import Model
import Storage
import Testing

@Suite("Documents, in every store")
struct DocumentContractTests {
  private func target(_ id: String, _ fields: [String: Value] = [:]) -> Document {
    Document(kind: .targets, id: id, fields: fields.merging(["target": .string(id)]) { first, _ in first })
  }

  @Test("are listed in the order of their ids, kind by kind", arguments: StoreKind.allCases)
  func listing(_ kind: StoreKind) async throws {
    let fixture = try await kind.make()
    defer { fixture.end() }
    let store = fixture.store
    let outcomes = try await store.put([
      target("web-2"), target("web-10"), target("Web"),
      Document(kind: .notification_options, id: "ops", fields: ["type": "email"]),
    ])
    #expect(outcomes == [.created, .created, .created, .created])
    #expect(try await store.documents(.targets).map(\.id) == ["Web", "web-10", "web-2"])
    #expect(try await store.documents(.notification_options).map(\.id) == ["ops"])
    #expect(try await store.documents(.reaction_targets) == [])
    #expect(try await store.document(.targets, id: "web-2") == target("web-2"))
    #expect(try await store.document(.reaction_targets, id: "web-2") == nil)
  }

  @Test("say whether a put changed anything, and move the revision only then", arguments: StoreKind.allCases)
  func outcomes(_ kind: StoreKind) async throws {
    let fixture = try await kind.make()
    defer { fixture.end() }
    let store = fixture.store
    let first = try await store.documentRevision()
    #expect(try await store.put([target("a", ["port": 22])]) == [.created])
    let second = try await store.documentRevision()
    #expect(second > first)
    #expect(try await store.put([target("a", ["port": 22])]) == [.unchanged])
    #expect(try await store.put([target("a", ["port": 22, "updated": .date(time())])]) == [.unchanged])
    #expect(try await store.documentRevision() == second)
    #expect(
      try await store.put([target("a", ["port": 23]), target("b"), target("a", ["port": 23])])
        == [.changed, .created, .unchanged])
    let third = try await store.documentRevision()
    #expect(third > second)
    #expect(try await store.delete(.targets, id: "a"))
    #expect(try await store.documentRevision() > third)
    #expect(try await !store.delete(.targets, id: "a"))
    #expect(try await store.documents(.targets).map(\.id) == ["b"])
  }

  @Test("keep what the service detected when a person edits them", arguments: StoreKind.allCases)
  func detectedSpecs(_ kind: StoreKind) async throws {
    let fixture = try await kind.make()
    defer { fixture.end() }
    let store = fixture.store
    _ = try await store.put([target("a", ["port": 22])])
    let revision = try await store.documentRevision()
    try await store.mergeDetectedSpecs(["os": "Debian 12", "cpu_cores": 2], targetID: "a")
    try await store.mergeDetectedSpecs(["cpu_cores": 4, "kernel": "6.1"], targetID: "a")
    try await store.mergeDetectedSpecs(["os": "x"], targetID: "nobody")
    #expect(try await store.documentRevision() == revision)
    let specs: Value = ["os": "Debian 12", "cpu_cores": 4, "kernel": "6.1"]
    #expect(try await store.document(.targets, id: "a") == target("a", ["port": 22, "detected_specs": specs]))
    #expect(try await store.put([target("a", ["port": 23])]) == [.changed])
    #expect(try await store.document(.targets, id: "a") == target("a", ["port": 23, "detected_specs": specs]))
    #expect(try await store.put([target("a", ["port": 23, "detected_specs": ["os": "BSD"]])]) == [.unchanged])
    #expect(
      try await store.document(.targets, id: "a") == target("a", ["port": 23, "detected_specs": ["os": "BSD"]]))
    #expect(try await store.document(.targets, id: "nobody") == nil)
  }

  @Test("come back as they went in, every kind of value", arguments: StoreKind.allCases)
  func values(_ kind: StoreKind) async throws {
    let fixture = try await kind.make()
    defer { fixture.end() }
    let store = fixture.store
    let fields: [String: Value] = [
      "null": nil, "yes": true, "no": false, "small": 7, "large": .int(.max), "least": .int(.min), "negative": -1,
      "whole": 3.0, "percent": 93.25, "third": .double(1.0 / 3), "huge": .double(1.7e300),
      "tiny": .double(.leastNonzeroMagnitude),
      "infinite": .double(.infinity), "text": "grün \u{1F600} \u{0}",
      "long": .string(String(repeating: "x", count: 5000)),
      "at": .date(time(0.25)), "exact": .date(time(1.0 / 3)), "list": [1, [2, []], ["k": "v"]], "": "no name",
    ]
    let document = Document(kind: .aggregation_options, id: "g", fields: fields, origin: "file.yaml:3")
    _ = try await store.put([document])
    var stored = document
    stored.origin = nil
    // Instants are kept to the millisecond, as MongoDB has them.
    stored.fields["exact"] = .date(StoredTime.stored(time(1.0 / 3)))
    #expect(try await store.document(.aggregation_options, id: "g") == stored)
    #expect(try await store.put([document]) == [.unchanged])
  }
}
