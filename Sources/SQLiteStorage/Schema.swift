internal import Foundation
internal import GRDB
internal import Model
internal import Storage

/// The tables, and which version of them this program knows.
enum Schema {
  /// Grows with every change of the tables or of ``ValueCodec``.
  static let version = Int64(1 + steps.count)
  /// Marks the file as ours (`SysC`), so that no other program's database is taken for an empty one.
  static let applicationID: Int64 = 0x5379_7343

  /// What leads from one version to the next: the first from 1 to 2. A step sees what its forerunners left, in the same
  /// transaction; steps are never changed once released.
  static let steps: [@Sendable (Database) throws -> Void] = [{ db in try toVersion2(db) }]

  /// Which version the file has; 0: it is empty.
  /// - Throws: `corrupt` when it is no file of ours, or one that this program cannot use.
  static func found(_ db: Database, path: String) throws -> Int64 {
    let application = try Int64.fetchOne(db, sql: "PRAGMA application_id") ?? 0
    let tableCount = try Int64.fetchOne(db, sql: "SELECT count(*) FROM sqlite_master") ?? 0
    if application == 0, tableCount == 0 { return 0 }
    guard application == applicationID else {
      throw StorageError(
        .corrupt,
        "\(path) is a database of another program; name another file as the store, or move this one out of the way")
    }
    guard let found = try Int64.fetchOne(db, sql: "SELECT value FROM meta WHERE name = 'schema_version'") else {
      throw StorageError(
        .corrupt, "\(path) has no schema version; move it out of the way or restore it from a backup")
    }
    if found > version {
      let backup = SchemaBackup.path(of: path, version: version)
      let advice =
        FileManager.default.fileExists(atPath: backup)
        ? """
        or go back to what it was before: stop all, move \(backup) in its place and delete \(path)-wal and \(path)-shm \
        (what came since is lost)
        """ : "or name another file as the store"
      throw StorageError(
        .corrupt,
        """
        \(path) was written by a newer Syscrap (schema \(found), this one knows up to \(version)); \
        run that version, \(advice)
        """)
    }
    guard found >= 1 else {
      throw StorageError(
        .corrupt, "\(path) has the unknown schema \(found); move it out of the way or restore it from a backup")
    }
    return found
  }

  /// Makes the tables in an empty file, or brings older ones up to ``version``.
  ///
  /// Runs inside one IMMEDIATE transaction: a crash at any point leaves the old version, whole; two processes that open
  /// a file at once do not hurt each other.
  static func bringUp(_ db: Database, from found: Int64) throws {
    if found == version { return }
    if found == 0 {
      try db.execute(sql: "PRAGMA application_id = \(applicationID)")
      try db.execute(sql: tables)
      try db.execute(sql: "INSERT INTO meta (name, value) VALUES ('schema_version', 1)")
    }
    for step in steps.dropFirst(Int(max(found, 1) - 1)) { try step(db) }
    try db.execute(sql: "UPDATE meta SET value = ? WHERE name = 'schema_version'", arguments: [version])
  }

  /// Roll-ups, leases and fences. `roll_ups.start` is seconds since 1970, `length` seconds; `roll_up_states.second` and
  /// `n` are the newest sample that is in. `leases.body` is JSON. `episodes.condition` is `ConditionKey.text`.
  private static func toVersion2(_ db: Database) throws {
    try db.execute(
      sql: """
        CREATE TABLE roll_ups (
          series INTEGER NOT NULL,
          type INTEGER NOT NULL,
          start INTEGER NOT NULL,
          length INTEGER NOT NULL,
          data BLOB NOT NULL,
          PRIMARY KEY (series, type, start)
        ) STRICT, WITHOUT ROWID;

        CREATE TABLE roll_up_states (
          series INTEGER PRIMARY KEY,
          fence INTEGER NOT NULL,
          second INTEGER NOT NULL,
          n INTEGER NOT NULL,
          late BLOB NOT NULL,
          open BLOB NOT NULL
        ) STRICT;

        CREATE TABLE leases (
          name TEXT NOT NULL PRIMARY KEY,
          body TEXT NOT NULL
        ) STRICT;

        ALTER TABLE episodes ADD COLUMN condition TEXT;
        ALTER TABLE episodes ADD COLUMN fence INTEGER NOT NULL DEFAULT 0;
        INSERT INTO meta (name, value) VALUES ('fence', 0);
        CREATE INDEX notifications_ahead ON notifications (updated) WHERE state = 0;
        """)
    try nameConditions(db)
    try db.execute(sql: "CREATE UNIQUE INDEX episodes_condition ON episodes (condition) WHERE is_open = 1")
  }

  /// Fills in the conditions. Where one has several open episodes the oldest stays, the others end.
  private static func nameConditions(_ db: Database) throws {
    let ids = try String.fetchAll(db, sql: "SELECT id FROM episodes ORDER BY is_open DESC, listed_at, id")
    var open: Set<String> = []
    for id in ids {
      guard let body = try String.fetchOne(db, sql: "SELECT body FROM episodes WHERE id = ?", arguments: [id]) else {
        continue
      }
      var episode = try QueueRow.json(Episode.self, body)
      if episode.isOpen, !open.insert(episode.key.text).inserted { episode = episode.superseded }
      try EpisodeRow.store(episode, fence: 0, db)
    }
  }

  /// `samples.second` is the instant that the tag stands for, in seconds since 1970: two bytes shorter, same order.
  /// `samples.data` is 1 and the encoded value, or 2 and the error's text. States and types are the numbers of
  /// `StoredNames`; times are milliseconds since 1970.
  ///
  /// The tables of version 1, from which ``steps`` lead on, also in a new file.
  static let tables = """
    CREATE TABLE meta (
      name TEXT NOT NULL PRIMARY KEY,
      value INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    INSERT INTO meta (name, value) VALUES ('document_revision', 0), ('checks', 0);

    CREATE TABLE documents (
      kind TEXT NOT NULL,
      id TEXT NOT NULL,
      fields BLOB NOT NULL,
      PRIMARY KEY (kind, id)
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE series (
      id INTEGER PRIMARY KEY,
      target TEXT NOT NULL,
      metric TEXT NOT NULL,
      name TEXT
    ) STRICT;
    CREATE INDEX series_target ON series (target, metric, name);

    CREATE TABLE samples (
      series INTEGER NOT NULL,
      type INTEGER NOT NULL,
      second INTEGER NOT NULL,
      n INTEGER NOT NULL,
      millisecond INTEGER NOT NULL,
      data BLOB NOT NULL,
      PRIMARY KEY (series, type, second, n)
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE episodes (
      id TEXT NOT NULL PRIMARY KEY,
      reaction TEXT NOT NULL,
      is_open INTEGER NOT NULL,
      listed_at INTEGER NOT NULL,
      body TEXT NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX episodes_listed ON episodes (is_open DESC, listed_at DESC, id);
    CREATE INDEX episodes_reaction ON episodes (reaction, is_open DESC, listed_at DESC, id);

    CREATE TABLE notifications (
      sequence INTEGER PRIMARY KEY,
      id TEXT NOT NULL UNIQUE,
      key TEXT,
      after_key TEXT,
      episode TEXT,
      state INTEGER NOT NULL,
      next_at INTEGER NOT NULL,
      created INTEGER NOT NULL,
      updated INTEGER NOT NULL,
      owner TEXT,
      epoch INTEGER NOT NULL,
      lease_until INTEGER,
      delivered_at INTEGER,
      receipt TEXT,
      payload BLOB NOT NULL,
      body TEXT NOT NULL,
      attempts TEXT NOT NULL
    ) STRICT;
    CREATE UNIQUE INDEX notifications_key ON notifications (key) WHERE key IS NOT NULL;
    CREATE INDEX notifications_due ON notifications (next_at, created) WHERE state = 0;
    CREATE INDEX notifications_leased ON notifications (lease_until) WHERE state = 1;
    CREATE INDEX notifications_settled ON notifications (updated) WHERE state >= 2;
    CREATE INDEX notifications_created ON notifications (created);
    CREATE INDEX notifications_episode ON notifications (episode, created) WHERE episode IS NOT NULL;

    CREATE TABLE tally (
      only INTEGER PRIMARY KEY CHECK (only = 1),
      accepted INTEGER NOT NULL,
      delivered INTEGER NOT NULL,
      merged INTEGER NOT NULL,
      dead INTEGER NOT NULL
    ) STRICT;
    INSERT INTO tally VALUES (1, 0, 0, 0, 0);
    """
}
