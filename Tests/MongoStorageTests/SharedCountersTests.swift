import Foundation
import MongoStorage
import TestKit
import Testing

@Suite("What libmongoc leaves in shared memory")
struct SharedCountersTests {
  @Test("goes when its process is gone, and nothing else does")
  func sweep() throws {
    let folder = try TemporaryDirectory("shm")
    let gone = Process()
    gone.executableURL = URL(fileURLWithPath: "/bin/true")
    try gone.run()
    gone.waitUntilExit()
    let own = ProcessInfo.processInfo.processIdentifier
    let kept = ["mongoc-\(own)", "mongoc-1", "mongoc-", "mongoc-0", "mongoc-x\(gone.processIdentifier)", "other"]
    for name in kept + ["mongoc-\(gone.processIdentifier)"] { try folder.write(name, "") }
    SharedCounters.sweep(in: folder.path)
    #expect(try FileManager.default.contentsOfDirectory(atPath: folder.path).sorted() == kept.sorted())
  }
}
