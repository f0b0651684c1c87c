package import Model
internal import MongoStorage
package import Storage

extension OperationError {
  /// What a failure of the store means to whoever gave the command: `unreachable` where the store is away, `denied` where
  /// it refuses the user, else `failed`.
  package init(store error: StorageError) {
    let code: Code =
      if MongoStorage.refusesUser(error) { .denied } else if error.code == .unavailable { .unreachable } else {
        .failed
      }
    self.init(code, "the store: \(error.message)")
  }
}
