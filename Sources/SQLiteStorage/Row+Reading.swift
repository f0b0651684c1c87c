internal import FoundationEssentials
internal import GRDB
internal import Storage

/// Columns as what they must be. A file that holds something else is corrupt, which is an error and not a trap.
extension Row {
  func optionalInteger(_ column: Int) throws -> Int64? {
    switch (self[column] as DatabaseValue).storage {
    case .null: nil
    case .int64(let value): value
    default: throw unexpected(column)
    }
  }

  func integer(_ column: Int) throws -> Int64 {
    guard let value = try optionalInteger(column) else { throw unexpected(column) }
    return value
  }

  func optionalText(_ column: Int) throws -> String? {
    switch (self[column] as DatabaseValue).storage {
    case .null: nil
    case .string(let value): value
    default: throw unexpected(column)
    }
  }

  func text(_ column: Int) throws -> String {
    guard let value = try optionalText(column) else { throw unexpected(column) }
    return value
  }

  func bytes(_ column: Int) throws -> [UInt8] {
    guard case .blob(let data) = (self[column] as DatabaseValue).storage else { throw unexpected(column) }
    return [UInt8](data)
  }

  private func unexpected(_ column: Int) -> StorageError {
    StorageError(.corrupt, "column \(column) of a row is not of its type; restore the database from a backup")
  }
}

extension Database {
  /// All rows, read through `body`, by a statement that is prepared once per connection.
  func rows<Result>(
    _ sql: String, _ arguments: StatementArguments = [], _ body: (Row) throws -> Result
  ) throws -> [Result] {
    let cursor = try Row.fetchCursor(try cachedStatement(sql: sql), arguments: arguments)
    var results: [Result] = []
    while let row = try cursor.next() { results.append(try body(row)) }
    return results
  }

  /// The first row.
  func row<Result>(
    _ sql: String, _ arguments: StatementArguments = [], _ body: (Row) throws -> Result
  ) throws -> Result? {
    try Row.fetchOne(try cachedStatement(sql: sql), arguments: arguments).map(body)
  }

  /// What `body` makes of the first row of which it makes anything. Rows behind that one are not read.
  func firstRow<Result>(
    _ sql: String, _ arguments: StatementArguments = [], where body: (Row) throws -> Result?
  ) throws -> Result? {
    let cursor = try Row.fetchCursor(try cachedStatement(sql: sql), arguments: arguments)
    while let row = try cursor.next() {
      if let result = try body(row) { return result }
    }
    return nil
  }

  /// - Returns: how many rows changed.
  @discardableResult
  func run(_ sql: String, _ arguments: StatementArguments = []) throws -> Int {
    try cachedStatement(sql: sql).execute(arguments: arguments)
    return changesCount
  }
}

extension String {
  /// Text as SQLite takes it: it ends a text at NUL, so that a NUL becomes the replacement character.
  var storable: String {
    utf8.contains(0) ? String(String.UnicodeScalarView(unicodeScalars.map { $0 == "\0" ? "\u{FFFD}" : $0 })) : self
  }
}
