extension Value {
  /// What a value is called that only MongoDB has a type for; nil for everything else.
  ///
  /// Such values come as a map of one field, named as MongoDB's extended JSON (version 2, and `$type` for what is left)
  /// names them. No document has a field of such a name.
  package var foreignName: String? {
    guard let fields, fields.count == 1, let field = fields.first else { return nil }
    switch field.key {
    case "$numberDecimal": return "a BSON decimal that is no number of ours"
    case "$regularExpression": return "a BSON regular expression"
    case "$binary": return "BSON binary data"
    case "$timestamp": return "a BSON timestamp (not a date)"
    case "$code": return "BSON JavaScript code"
    case "$symbol": return "a BSON symbol"
    case "$dbPointer": return "a BSON DBPointer"
    case "$undefined": return "a BSON undefined value"
    case "$minKey": return "the BSON MinKey"
    case "$maxKey": return "the BSON MaxKey"
    case "$type": return field.value.integer.map { "a BSON value of type \($0)" }
    default: return nil
    }
  }
}
