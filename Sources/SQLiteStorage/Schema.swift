internal import GRDB
internal import Storage

/// The tables, and which version of them this program knows.
enum Schema {
  /// Grows with every change of the tables or of ``ValueCodec``.
  static let version: Int64 = 1
  /// Marks the file as ours (`SysC`), so that no other program's database is taken for an empty one.
  static let applicationID: Int64 = 0x5379_7343

  /// Makes the tables in an empty file, or checks that the ones that are there are ours to use.
  ///
  /// Runs inside one IMMEDIATE transaction: two processes that open a new file at once do not hurt each other.
  static func prepare(_ db: Database, path: String) throws {
    let application = try Int64.fetchOne(db, sql: "PRAGMA application_id") ?? 0
    let tableCount = try Int64.fetchOne(db, sql: "SELECT count(*) FROM sqlite_master") ?? 0
    if application == 0, tableCount == 0 {
      try db.execute(sql: "PRAGMA application_id = \(applicationID)")
      try db.execute(sql: tables)
      try db.execute(sql: "INSERT INTO meta (name, value) VALUES ('schema_version', ?)", arguments: [version])
      return
    }
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
      throw StorageError(
        .corrupt,
        """
        \(path) was written by a newer Syscrap (schema \(found), this one knows up to \(version)); \
        run that version, or name another file as the store
        """)
    }
    guard found == version else {
      throw StorageError(
        .corrupt, "\(path) has the unknown schema \(found); move it out of the way or restore it from a backup")
    }
  }

  /// `samples.second` is the instant that the tag stands for, in seconds since 1970: two bytes shorter, same order.
  /// `samples.data` is 1 and the encoded value, or 2 and the error's text. States and types are the numbers of
  /// `StoredNames`; times are milliseconds since 1970.
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
