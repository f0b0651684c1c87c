internal import CMongoC
internal import Glibc
internal import Storage

extension MongoAddress {
  /// The replica set's name that the servers must have.
  var replicaSet: String? { mongoc_uri_get_replica_set(pointer).map { String(cString: $0) } }

  /// The files that the address names. libmongoc looks at them with every connection, and what it says then does not
  /// name them.
  /// - Throws: `corrupt` with the name of one that cannot be read.
  func checkFiles() throws(StorageError) {
    for (option, name) in [("tlscafile", "tlsCAFile"), ("tlscertificatekeyfile", "tlsCertificateKeyFile")] {
      guard let value = mongoc_uri_get_option_as_utf8(pointer, option, nil) else { continue }
      let path = String(cString: value)
      guard access(path, R_OK) == 0 else {
        let reason = String(cString: strerror(errno))
        throw StorageError(.corrupt, "opening the store in \(place): \(name) \(path) cannot be read: \(reason)")
      }
    }
  }
}
