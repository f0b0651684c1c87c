internal import FoundationEssentials
internal import GRDB
package import Storage

extension SQLiteStorage: LeaseStorage, FencedStorage {
  package func lease(_ name: String) async throws(StorageError) -> Lease? {
    try await read("reading a lease") { db in try Self.lease(name, db) }
  }

  package func replace(_ lease: Lease, expecting expected: Lease?) async throws(StorageError) -> Lease? {
    try await write("taking a lease", isDurable: true) { db in
      let found = try Self.lease(lease.name, db)
      guard found == expected else { return found }
      try db.run(
        "INSERT INTO leases (name, body) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET body = excluded.body",
        [lease.name.storable, try QueueRow.json(lease)])
      return lease
    }
  }

  package func raiseFence(to fence: Int64) async throws(StorageError) {
    try await write("raising the fence", isDurable: true) { db in
      let known = try Self.knownFence(db)
      guard fence >= known else { throw StorageRefusal.lowerFence(fence, than: known) }
      try db.run("UPDATE meta SET value = ? WHERE name = 'fence'", [fence])
      try db.run("UPDATE episodes SET fence = ?1 WHERE is_open = 1 AND fence < ?1", [fence])
    }
    // Only now: had it failed, this handle would write in a name that the store does not know.
    self.fence.raise(to: fence)
  }

  /// The highest that any handle has raised.
  static func knownFence(_ db: Database) throws -> Int64 {
    try db.row("SELECT value FROM meta WHERE name = 'fence'") { try $0.integer(0) } ?? 0
  }

  private static func lease(_ name: String, _ db: Database) throws -> Lease? {
    try db.row("SELECT body FROM leases WHERE name = ?", [name.storable]) { row in
      try QueueRow.json(Lease.self, row.text(0))
    }
  }
}
