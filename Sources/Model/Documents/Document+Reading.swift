extension Document {
  /// Fields that every document may have beside those of its kind.
  static let commonFields: Set<String> = ["_id", "kind", "enabled", "labels", "updated", "target"]

  /// Takes a document apart into kind, id and fields; the kinds' own readers look into the fields.
  ///
  /// Without `_id` an id is made, see ``derivedID(kind:fields:)``; it is the same whenever the same document is read
  /// again, so that applying a file twice changes nothing.
  /// - Parameter expected: the collection it was found in; `kind` may then be absent and must agree if present.
  package static func read(_ value: Value, kind expected: DocumentKind? = nil, origin: String? = nil) -> Reading<
    Document
  > {
    let problems = ProblemList(kind: expected?.rawValue ?? "document", id: "")
    guard var fields = value.fields else {
      problems.refuse("", "expected a document (a map of fields), found \(FieldReader.found(value, ""))")
      return problems.reading(nil)
    }
    guard let kind = kind(of: fields, expected, problems) else { return problems.reading(nil) }
    var id: String?
    if let written = fields["_id"], !written.isNull {
      id = self.id(written)
      if id == nil {
        let named = ProblemList(kind: kind.rawValue, id: "")
        named.refuse(
          "_id", "expected text or an ObjectId, found \(FieldReader.found(written, "_id"))",
          hint: "at most 256 bytes on one line, not empty")
        return named.reading(nil)
      }
    }
    fields["_id"] = nil
    fields["kind"] = nil
    let document = Document(kind: kind, id: id ?? derivedID(kind: kind, fields: fields), fields: fields, origin: origin)
    let bounds = ProblemList(kind: kind.rawValue, id: document.id)
    DocumentBounds.check(fields, bounds)
    return bounds.reading(document)
  }

  /// The id of a document that was written without one: a target's name; otherwise what tells it apart in its
  /// collection, in words: `generic`, `Range for web-1`, `email for role=web`, `Vitals.CPU for generic`.
  package static func derivedID(kind: DocumentKind, fields: [String: Value]) -> String {
    let whom = title(ofTarget: fields["target"])
    let what: String? =
      switch kind {
      case .targets: nil
      case .aggregation_options: fields["metric"]?.text
      case .reaction_targets: fields["reaction"]?.text ?? "reaction"
      case .notification_options: fields["type"]?.text ?? "options"
      }
    let id = what.map { "\($0) for \(whom)" } ?? whom
    return String(String.UnicodeScalarView(id.unicodeScalars.filter { $0.value >= 32 && $0.value != 127 }.prefix(200)))
  }

  /// Tells documents apart that were given the same id by ``derivedID(kind:fields:)``: the second becomes `… 2`.
  ///
  /// The numbers follow the order of the documents, so each such document gets a warning: with an `_id` of its own its
  /// episodes would survive a change of the order.
  /// - Parameter isDerived: whether the document at this place was written without `_id`.
  package static func makeUnique(_ documents: inout [Document], isDerived: [Bool]) -> [Problem] {
    var taken: Set<String> = []
    for (index, document) in documents.enumerated() where !(isDerived.indices.contains(index) && isDerived[index]) {
      taken.insert("\(document.kind.rawValue) \(document.id)")
    }
    var problems: [Problem] = []
    // Targets keep theirs: two targets of one name are a mistake, which is reported as such.
    for index in documents.indices where isDerived.indices.contains(index) && isDerived[index] {
      let document = documents[index]
      guard document.kind != .targets else { continue }
      var number = 1
      var id = document.id
      while !taken.insert("\(document.kind.rawValue) \(id)").inserted {
        number += 1
        id = "\(document.id) \(number)"
      }
      guard number > 1 else { continue }
      documents[index].id = id
      problems.append(
        Problem(
          .warning, kind: document.kind.rawValue, id: id, path: "_id",
          reason: "several documents would have the id \(document.id)", hint: "give each an _id"))
    }
    return problems
  }

  private static func kind(
    of fields: [String: Value], _ expected: DocumentKind?, _ problems: ProblemList
  ) -> DocumentKind? {
    guard let written = fields["kind"], !written.isNull else {
      if let expected { return expected }
      let guess: DocumentKind? =
        if fields["reaction"] != nil {
          .reaction_targets
        } else if fields["metrics"] != nil || fields["metric"] != nil {
          .aggregation_options
        } else if fields["type"] != nil {
          .notification_options
        } else if fields["target"] != nil {
          .targets
        } else {
          nil
        }
      problems.refuse(
        "kind", "kind is missing", hint: "write kind: \(guess?.singular ?? kinds.joined(separator: " | "))")
      return nil
    }
    guard let name = written.text, let kind = DocumentKind(name: name) else {
      let hint = written.text.flatMap { NearestName.hint($0, in: kinds) }
      problems.refuse("kind", "unknown kind: \(FieldReader.found(written, "kind"))", hint: hint)
      return nil
    }
    if let expected, kind != expected {
      problems.refuse(
        "kind", "the document says \(kind.singular), but it stands in \(expected.rawValue)",
        hint: "leave kind out, or move the document to \(kind.rawValue)")
      return nil
    }
    return kind
  }

  private static let kinds = DocumentKind.allCases.map(\.singular)

  private static func id(_ value: Value) -> String? {
    let text: String? =
      switch value {
      case .string(let text): text
      case .int(let number): String(number)
      // How exports write an ObjectId.
      case .object(let fields): fields.count == 1 ? fields["$oid"]?.text : nil
      default: nil
      }
    guard let text, !text.isEmpty, text.utf8.count <= 256,
      !text.unicodeScalars.contains(where: { $0.value < 32 || $0.value == 127 })
    else { return nil }
    return text
  }

  private static func title(ofTarget value: Value?) -> String {
    switch value {
    case .string(let name): name
    case .array(let names): names.prefix(8).compactMap(\.text).joined(separator: ",")
    case .object(let fields):
      (fields["labels"]?.fields ?? [:]).sorted { $0.key < $1.key }.prefix(8)
        .map { "\($0.key)=\($0.value.text ?? "?")" }.joined(separator: ",")
    default: "generic"
    }
  }
}

extension FieldReader {
  /// The reader of a whole document, after its bounds were checked.
  init(document: Document, _ problems: ProblemList) {
    DocumentBounds.check(document.fields, problems)
    self.init(document.fields, problems: problems)
  }

  /// `enabled`, true when absent.
  func enabled() -> Bool { flag("enabled") ?? true }
}
