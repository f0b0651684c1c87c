internal import App
internal import Foundation
internal import Logging
internal import Model
internal import Storage
internal import Synchronization
internal import Testing

/// Which documents count: the last good versions, over restarts too, and whose a name is.
@Suite struct DocumentBookTests {
  /// A file in memory.
  private final class Box: Sendable {
    struct Content {
      var bytes: [UInt8]?
      var writes = 0
      var refusals = 0
    }
    let content = Mutex(Content())
    var writes: Int { content.withLock { $0.writes } }
  }

  private struct Full: Error {}

  private let store = MemoryStorage()
  private let box = Box()

  private func book(place: String = "here", remembers: Bool = true) -> DocumentBook {
    let box = box
    let memory = DocumentMemory(
      place: place, logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() },
      read: { box.content.withLock { $0.bytes } },
      write: { bytes in
        try box.content.withLock { content in
          guard content.refusals == 0 else {
            content.refusals -= 1
            throw Full()
          }
          content.bytes = bytes
          content.writes += 1
        }
      })
    return DocumentBook(
      storage: store, checks: .standard, memory: remembers ? memory : nil,
      now: { Date(timeIntervalSince1970: 1_795_248_000) })
  }

  private func target(_ name: String = "box", id: String? = nil, port: Value = 22) -> Document {
    Document(
      kind: .targets, id: id ?? name, fields: ["target": .string(name), "host": "192.0.2.1", "port": port])
  }

  private func range(_ max: Value) -> Document {
    Document(
      kind: .reaction_targets, id: "cpu",
      fields: ["reaction": "Range", "target": "box", "metrics": ["Vitals.CPU": ["max": max]]])
  }

  private func refused(_ snapshot: DocumentBook.Snapshot) -> [String] {
    snapshot.problems.filter { $0.level == .refused }.map { "\($0.kind) \($0.id) \($0.path)" }
  }

  @Test("A document broken by an edit counts in its last good version, after a restart as well")
  func broken() async throws {
    _ = try await store.put([target(), range(90.0)])
    _ = try await book().refresh()
    _ = try await store.put([target(port: "ssh"), range("ninety")])
    // Another life.
    let snapshot = try await book().refresh().snapshot
    #expect(snapshot.targets.values.map(\.port) == [22])
    #expect(snapshot.set.reactionTargets.map { $0.conditions.map(\.limits) } == [[["max": 90.0]]])
    #expect(refused(snapshot) == ["targets box port", "reaction_targets cpu metrics.Vitals.CPU.max"])
    #expect(snapshot.refusedTargets == [:] && snapshot.refusedReactions == [])
    // And one more: the broken ones did not push the good ones out.
    #expect(try await book().refresh().snapshot.digests == snapshot.digests)
  }

  @Test("Where no good version is known a refused document is not taken for removed, unless it is switched off")
  func unknown() async throws {
    var off = range("ninety")
    off.id = "off"
    off.fields["enabled"] = false
    var offTarget = target("off", port: "ssh")
    offTarget.fields["enabled"] = false
    _ = try await store.put([target(port: "ssh"), range("ninety"), off, offTarget])
    let book = book(remembers: false)
    let snapshot = try await book.refresh().snapshot
    #expect(snapshot.targets.isEmpty && snapshot.set.reactionTargets.isEmpty)
    #expect(snapshot.refusedReactions == ["cpu"])
    #expect(snapshot.refusedTargets.keys.sorted() == ["box"])
    #expect(snapshot.refusedTargets["box"]?.hasPrefix("port: expected a whole number") == true, "\(snapshot)")
    // Mended, and deleted.
    _ = try await store.put([target()])
    _ = try await store.delete(.reaction_targets, id: "cpu")
    let mended = try await book.refresh().snapshot
    #expect(mended.targets.keys.sorted() == ["box"])
    #expect(mended.refusedTargets == [:] && mended.refusedReactions == [])
  }

  @Test("The good versions are written only when they changed; what failed is written with the next look")
  func writes() async throws {
    _ = try await store.put([target()])
    let first = book()
    _ = try await first.refresh()
    _ = try await first.refresh()
    #expect(box.writes == 1)
    _ = try await store.put([target(port: "ssh")])
    _ = try await first.refresh()
    #expect(box.writes == 1)
    _ = try await book().refresh()
    #expect(box.writes == 1)

    box.content.withLock { $0.refusals = 1 }
    _ = try await store.put([target(port: 23)])
    #expect(try await first.refresh().isNew)
    #expect(box.writes == 1)
    #expect(try await first.refresh().isNew == false)
    #expect(box.writes == 2)
    _ = try await store.put([target(port: "ssh")])
    #expect(try await book().refresh().snapshot.targets.values.map(\.port) == [23])
  }

  @Test("What was kept of another store, or is no such file, does not count and harms nothing")
  func foreign() async throws {
    _ = try await store.put([target()])
    _ = try await book(place: "elsewhere").refresh()
    _ = try await store.put([target(port: "ssh")])
    #expect(try await book().refresh().snapshot.refusedTargets.keys.sorted() == ["box"])
    for text in [
      "", "{", "[]", "{\"format\":2,\"documents\":[]}", "{\"format\":1,\"store\":\"here\",\"documents\":[7]}",
    ] {
      box.content.withLock { $0.bytes = Array(text.utf8) }
      #expect(try await book().refresh().snapshot.refusedTargets.keys.sorted() == ["box"], "\(text)")
    }
  }

  @Test("The kept form gives back the very same documents, without what the service itself writes")
  func form() throws {
    var document = target()
    document.fields["labels"] = ["a": "é\n\"", "$date": "x"]
    document.fields["detected_specs"] = ["os": "Linux"]
    let bytes = try DocumentMemory.bytes(
      .init(documents: [document, range(90.0), range(90)], names: ["box": "box"]), place: "here")
    document.fields["detected_specs"] = nil
    #expect(
      try DocumentMemory.content(bytes, place: "here")
        == .init(documents: [document, range(90.0), range(90)], names: ["box": "box"]))
    #expect(try DocumentMemory.content(bytes, place: "there") == nil)
  }

  @Test("A newcomer that claims a target's name is refused, whatever its id; who has the name keeps it over restarts")
  func names() async throws {
    _ = try await store.put([target()])
    let first = book()
    _ = try await first.refresh()
    // As another tool inserts it: its ObjectId comes before most names.
    let stranger = target(id: "0123456789abcdef01234567", port: 2222)
    _ = try await store.put([stranger])
    for (life, book) in ["same": first, "next": book()] {
      let snapshot = try await book.refresh().snapshot
      #expect(snapshot.targets.mapValues(\.id) == ["box": "box"], "\(life)")
      #expect(refused(snapshot) == ["targets 0123456789abcdef01234567 target"], "\(life)")
      #expect(snapshot.refusedTargets == [:], "\(life)")
    }
    // Where nobody was there before the order of the ids decides.
    #expect(try await book(remembers: false).refresh().snapshot.targets.mapValues(\.port) == ["box": 2222])
    // The owner may be edited, and give the name up.
    _ = try await store.put([target(port: 23)])
    #expect(try await first.refresh().snapshot.targets.mapValues(\.port) == ["box": 23])
    _ = try await store.delete(.targets, id: "box")
    #expect(try await first.refresh().snapshot.targets.mapValues(\.port) == ["box": 2222])
  }

  @Test("A document that is applied cannot take a name that is taken, and the owner can still be edited")
  func applied() async throws {
    _ = try await store.put([target()])
    let desk = DocumentDesk(storage: store, checks: .standard)
    let stranger = target(id: "0123456789abcdef01234567", port: 2222)
    let report = try await desk.apply([stranger], dryRun: false)
    #expect(report.items.map(\.outcome) == ["refused"])
    #expect(report.problems.map(\.path) == ["target"])
    // It came in by another way.
    _ = try await store.put([stranger])
    #expect(try await desk.apply([target(port: 23)], dryRun: false).items.map(\.outcome) == ["changed"])
  }

  @Test("A problem says which document it is of, also where kind or _id are what is wrong")
  func problems() {
    let checks = DocumentChecks.standard
    func said(_ document: Document) -> [String] { checks.read(document).problems.map(\.description) }
    var misplaced = target(id: "0123456789abcdef01234567")
    misplaced.fields["kind"] = "reaction_target"
    #expect(
      said(misplaced) == [
        "targets 0123456789abcdef01234567: kind: the document says reaction_target, but it stands in targets"
          + " (leave kind out, or move the document to reaction_targets; it is the target \"box\")"
      ])
    // What a store makes of an _id that is a map.
    var odd = target(id: "{\"a\":1}")
    odd.fields["_id"] = ["a": 1]
    let outcome = checks.read(odd)
    #expect(!outcome.isUsable)
    #expect(outcome.problems.map(\.id) == ["{\"a\":1}"])
    #expect(outcome.problems.map(\.path) == ["_id"])
    #expect(outcome.problems.first?.hint?.contains("it is the target \"box\"") == true)
    let long = said(target(id: "a\nb"))
    #expect(long.count == 1 && long.allSatisfy { $0.hasPrefix("targets a\nb: _id: ") }, "\(long)")
  }

  @Test("doctor calls a refused target bad and tries only those that count")
  func doctor() {
    let stranger = target(id: "0123456789abcdef01234567", port: 2222)
    var off = target("off", port: "ssh")
    off.fields["enabled"] = false
    let (targets, findings) = DoctorDesk.examine(
      [stranger, target(), target("other", port: "ssh"), off], names: ["box": "box"])
    #expect(targets.map(\.id) == ["box"])
    #expect(findings.map(\.area) == ["target box", "target other"])
    #expect(findings.allSatisfy { $0.state == .bad && $0.found.hasPrefix("refused: ") }, "\(findings)")
    #expect(findings.first?.found == "refused: target: the name \"box\" is taken by the document \"box\"")
  }

  @Test("A refused target keeps its row, with the reason and what is open on it, until it is mended or deleted")
  func board() async {
    let board = FleetBoard()
    let since = Date(timeIntervalSince1970: 1_795_248_000)
    let episode = Episode(
      id: "e", key: ConditionKey(reaction: "cpu", target: "box", metric: "Vitals.CPU"), severity: .critical,
      state: .firing, since: since, value: "95", limit: "90")
    await board.keep(only: ["box", "other"])
    await board.lead(open: [episode])
    await board.keep(only: ["other"], refused: ["box": "port: expected a whole number"])
    var rows = await board.fleet()
    #expect(rows.compactMap { $0["target"]?.text } == ["box", "other"])
    #expect(rows.compactMap { $0["state"]?.text } == ["refused", "connecting"])
    #expect(rows.first?["detail"]?.text == "refused: port: expected a whole number")
    #expect(rows.first?["firing"]?.integer == 1)
    #expect(rows.first?["severity"]?.text == "critical")
    #expect(await board.state(of: "box") == "refused")
    await board.keep(only: ["box", "other"])
    rows = await board.fleet()
    #expect(rows.compactMap { $0["state"]?.text } == ["connecting", "connecting"])
    await board.keep(only: ["other"], refused: ["new": "host is missing"])
    rows = await board.fleet()
    #expect(rows.compactMap { $0["target"]?.text } == ["new", "other"])
    #expect(rows.compactMap { $0["state"]?.text } == ["refused", "connecting"])
  }
}
