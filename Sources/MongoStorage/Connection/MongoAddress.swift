internal import CMongoC
internal import Storage

/// A `mongodb://` address with the settings that we make on purpose; it owns libmongoc's own copy of it.
final class MongoAddress: @unchecked Sendable {
  // Sendable is true: `pointer` is changed in the initializer only, and read afterwards.
  let pointer: OpaquePointer
  let database: String
  /// `mongodb://host:port/database`: for messages; nothing secret in it.
  let place: String

  /// Longest wait for a server to be chosen, for a connection, and for an answer, unless the address says otherwise.
  static let timeouts: [(name: String, milliseconds: Int32)] = [
    ("serverselectiontimeoutms", 5000), ("connecttimeoutms", 5000), ("sockettimeoutms", 10_000),
  ]

  /// - Throws: `corrupt` with advice when the address cannot be used.
  init(_ text: String, username: String?, password: String?) throws(StorageError) {
    guard text.hasPrefix("mongodb://") || text.hasPrefix("mongodb+srv://") else {
      throw StorageError(.corrupt, "the store's address does not begin with mongodb://")
    }
    guard !Self.holdsPassword(text) else {
      throw StorageError(
        .corrupt,
        """
        the store's address carries a password; write the address without it, the name in store_username and the \
        path of a file with the password in store_password_file
        """)
    }
    var error = bson_error_t()
    // Some mechanisms are refused by the parser where it finds no name: it has to be there from the beginning.
    let named = username.map { Self.naming($0, in: text) } ?? text
    guard let pointer = mongoc_uri_new_with_error(named, &error) else {
      let reason = withUnsafePointer(to: error) { String(cString: syscrap_error_text($0)) }
      throw StorageError(.corrupt, "the store's address \(text) cannot be read: \(reason)")
    }
    self.pointer = pointer
    var hosts: [String] = []
    var host = mongoc_uri_get_hosts(pointer)
    while let current = host {
      hosts.append(Self.hostAndPort(current))
      host = UnsafePointer(current.pointee.next)
    }
    let name = mongoc_uri_get_database(pointer).map { String(cString: $0) } ?? ""
    database = name
    place = "mongodb://\(hosts.joined(separator: ","))/\(name)"
    guard !name.isEmpty else {
      throw StorageError(
        .corrupt, "the store's address \(place) names no database; write mongodb://host/syscrap, for example")
    }
    guard name.utf8.count < 64, !name.contains(where: { "/\\. \"$*<>:|?".contains($0) }) else {
      throw StorageError(.corrupt, "\(name) cannot be a database's name; letters, digits, _ and - can")
    }
    if let password { mongoc_uri_set_password(pointer, password) }
    for (name, milliseconds) in Self.timeouts where !mongoc_uri_has_option(pointer, name) {
      mongoc_uri_set_option_as_int32(pointer, name, milliseconds)
    }
    if mongoc_uri_get_appname(pointer) == nil { mongoc_uri_set_appname(pointer, "syscrap") }
    // Commands say themselves how safe a write must be, and all reading is done where writing is.
    let concern = mongoc_write_concern_new()
    mongoc_uri_set_write_concern(pointer, concern)
    mongoc_write_concern_destroy(concern)
    let preference = mongoc_read_prefs_new(MONGOC_READ_PRIMARY)
    mongoc_uri_set_read_prefs_t(pointer, preference)
    mongoc_read_prefs_destroy(preference)
  }

  deinit { mongoc_uri_destroy(pointer) }

  private static func hostAndPort(_ host: UnsafePointer<mongoc_host_list_t>) -> String {
    withUnsafePointer(to: host.pointee.host_and_port) { tuple in
      tuple.withMemoryRebound(to: CChar.self, capacity: MemoryLayout.size(ofValue: tuple.pointee)) {
        String(cString: $0)
      }
    }
  }

  /// The address with this name before its hosts, in place of one that may be there.
  private static func naming(_ username: String, in text: String) -> String {
    let scheme = text.hasPrefix("mongodb://") ? "mongodb://" : "mongodb+srv://"
    var rest = text.dropFirst(scheme.count)
    let authority = rest.prefix { $0 != "/" && $0 != "?" }
    if let at = authority.lastIndex(of: "@") { rest = rest[rest.index(after: at)...] }
    let plain = "-._~".utf8
    var name = ""
    for byte in username.utf8 {
      switch byte {
      case 0x30...0x39, 0x41...0x5A, 0x61...0x7A: name.unicodeScalars.append(Unicode.Scalar(byte))
      case _ where plain.contains(byte): name.unicodeScalars.append(Unicode.Scalar(byte))
      default:
        let digits = String(byte, radix: 16, uppercase: true)
        name += "%" + (digits.count < 2 ? "0" : "") + digits
      }
    }
    return scheme + name + "@" + rest
  }

  /// Looked for in the text: a wrong address must not get its password into a message.
  private static func holdsPassword(_ text: String) -> Bool {
    let rest = text.drop { $0 != "/" }.drop { $0 == "/" }
    let authority = rest.prefix { $0 != "/" && $0 != "?" }
    guard let at = (authority.contains("@") ? authority : rest).lastIndex(of: "@") else { return false }
    return rest[..<at].contains(":")
  }
}
