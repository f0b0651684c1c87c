/// An index that has to be there.
struct IndexSpec: Sendable, Hashable {
  struct Key: Sendable, Hashable {
    var field: String
    /// 1 or -1.
    var order: Int32
  }
  var collection: String
  var name: String
  var keys: [Key]
  var isUnique: Bool
  /// Only documents that match are in it.
  var partial: BSON?

  init(
    _ collection: String, _ name: String, keys: KeyValuePairs<String, Int32>, unique: Bool = false, partial: BSON? = nil
  ) {
    self.collection = collection
    self.name = name
    self.keys = keys.map { Key(field: $0.key, order: $0.value) }
    self.isUnique = unique
    self.partial = partial
  }
}
