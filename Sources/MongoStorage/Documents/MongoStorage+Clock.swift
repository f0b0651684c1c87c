internal import FoundationEssentials
package import Storage

extension MongoStorage {
  /// How far the server's clock is ahead of this machine's, in seconds; right to about half a round trip. Nothing is
  /// decided by it: it is for people.
  package func clockDifference() async throws(StorageError) -> Double {
    try await pool.run("asking for the server's time") { connection in
      let before = Date()
      let hello = try connection.read(BSON { $0.int32("hello", 1) }, database: "admin")
      let after = Date()
      guard let server = hello["localTime"]?.millisecondsValue else {
        throw StorageError(.corrupt, "the server's answer to hello has no localTime")
      }
      let middle = (before.timeIntervalSince1970 + after.timeIntervalSince1970) / 2
      return Double(server) / 1000 - middle
    }
  }
}
