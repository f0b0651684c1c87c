internal import Foundation
package import Model

/// Documents read from files, with the places they stand at.
///
/// Reading blocks; call it where blocking is allowed.
package struct DocumentFiles: Sendable {
  package private(set) var documents: [Document] = []
  /// What is wrong with files and with documents so far; the documents' own readers find more.
  package private(set) var problems: [Problem] = []
  /// The files that were read, in order.
  package private(set) var files: [String] = []
  private var positions: [String: Positions] = [:]
  private var isDerived: [Bool] = []
  private var origins: [Positions] = []
  private var bytesLeft = DocumentFiles.bytes

  /// Deepest folder below a named one.
  package static let levels = 8
  /// Most files of one reading, and most bytes of all together: 64 MiB.
  package static let count = 10_000
  package static let bytes = 64 << 20

  private init() {}

  /// Reads files, folders (`*.yaml`, `*.yml`, `*.json`, in the order of their names, hidden ones left out) and `-`.
  /// - Parameters:
  ///   - paths: as a person wrote them.
  ///   - base: what relative paths start from, and what `~` is.
  ///   - standardInput: gives what `-` stands for.
  package static func read(
    _ paths: [String], base: PathBase, standardInput: () -> [UInt8] = DocumentFiles.standardInput
  ) -> DocumentFiles {
    var result = DocumentFiles()
    for path in paths {
      if path == "-" {
        result.take(standardInput(), file: "<stdin>", isJSON: false, base: base)
      } else {
        result.read(base.absolute(path), shown: path, home: base.home)
      }
    }
    result.finish()
    return result
  }

  /// Reads one text, for documents that come from elsewhere.
  package static func read(_ bytes: [UInt8], file: String, isJSON: Bool = false, base: PathBase) -> DocumentFiles {
    var result = DocumentFiles()
    result.take(bytes, file: file, isJSON: isJSON, base: base)
    result.finish()
    return result
  }

  /// The same problems, each with file and line where its document is one of these.
  package func locate(_ problems: [Problem]) -> [Problem] {
    problems.map { problem in positions["\(problem.kind) \(problem.id)"]?.locate(problem) ?? problem }
  }

  /// Reads the documents' fields and checks them against one another.
  /// - Parameters:
  ///   - stored: documents that count beside these; one of the same kind and id here replaces its stored version.
  /// - Returns: what can be used, and all problems in the order of files and lines.
  package func check(with stored: [Document] = [], available: Availability = .everything) -> (
    set: DocumentSet, problems: [Problem]
  ) {
    var set = DocumentSet()
    var found = problems
    for document in documents { found += locate(set.add(document, available: available)) }
    let mine = Set(documents.map { "\($0.kind.rawValue) \($0.id)" })
    for document in stored where !mine.contains("\(document.kind.rawValue) \(document.id)") {
      // Its own problems were said when it was stored.
      _ = set.add(document, available: available)
    }
    let between = set.check()
    found += locate(between)
    return (set.removing(refusedBy: between), Self.ordered(found))
  }

  /// By file, line and path; what has no place comes last.
  package static func ordered(_ problems: [Problem]) -> [Problem] {
    problems.enumerated().sorted { a, b in
      let (x, y) = (a.element, b.element)
      if x.file != y.file { return (x.file ?? "\u{10FFFF}") < (y.file ?? "\u{10FFFF}") }
      if x.line != y.line { return (x.line ?? 0) < (y.line ?? 0) }
      return a.offset < b.offset
    }.map(\.element)
  }

  /// Everything on standard input, up to one byte more than a file may have.
  package static func standardInput() -> [UInt8] {
    Self.content(of: FileHandle.standardInput)
  }

  // MARK: - Files

  private mutating func read(_ path: String, shown: String, home: String?) {
    var isFolder: ObjCBool = false
    guard FileManager.default.fileExists(atPath: path, isDirectory: &isFolder) else {
      return refuse(shown, "there is no such file or folder")
    }
    guard isFolder.boolValue else { return readFile(path, shown: shown, home: home) }
    let before = files.count
    readFolder(path, shown: shown, home: home, level: 0)
    if files.count == before {
      problems.append(
        Problem(
          .warning, kind: "file", id: "", path: "", reason: "the folder holds no documents",
          hint: "documents end in .yaml, .yml or .json", file: shown))
    }
  }

  private mutating func readFolder(_ path: String, shown: String, home: String?, level: Int) {
    guard level <= Self.levels else { return refuse(shown, "folders are nested deeper than \(Self.levels) levels") }
    guard let names = try? FileManager.default.contentsOfDirectory(atPath: path) else {
      return refuse(shown, "the folder cannot be read", hint: "check its permissions")
    }
    let prefix = shown.hasSuffix("/") ? shown : shown + "/"
    for name in names.sorted() where !name.hasPrefix(".") {
      guard files.count < Self.count else { return }
      let inner = path + "/" + name
      var isFolder: ObjCBool = false
      guard FileManager.default.fileExists(atPath: inner, isDirectory: &isFolder) else { continue }
      if isFolder.boolValue {
        readFolder(inner, shown: prefix + name, home: home, level: level + 1)
      } else if [".yaml", ".yml", ".json"].contains(where: name.hasSuffix) {
        // A pipe in a folder would hold us for ever.
        let type =
          try? FileManager.default.attributesOfItem(atPath: PathBase.resolved(inner))[.type] as? FileAttributeType
        guard type == .typeRegular else { continue }
        readFile(inner, shown: prefix + name, home: home)
      }
    }
    if files.count >= Self.count { refuse(shown, "more than \(Self.count) files") }
  }

  private mutating func readFile(_ path: String, shown: String, home: String?) {
    guard let handle = FileHandle(forReadingAtPath: path) else {
      return refuse(shown, "the file cannot be read", hint: "check its permissions")
    }
    let content = Self.content(of: handle)
    try? handle.close()
    files.append(path)
    bytesLeft -= content.count
    guard bytesLeft >= 0 else { return refuse(shown, "the files hold more than \(Self.bytes >> 20) MiB") }
    let folder = path.lastIndex(of: "/").map { String(path[..<$0]) } ?? ""
    take(content, file: shown, isJSON: path.hasSuffix(".json"), base: PathBase(folder: folder, home: home))
  }

  private static func content(of handle: FileHandle) -> [UInt8] {
    var content: [UInt8] = []
    while content.count <= DocumentText.bytes,
      let more = try? handle.read(upToCount: DocumentText.bytes + 1 - content.count), !more.isEmpty
    {
      content += more
    }
    return content
  }

  private mutating func refuse(_ shown: String, _ reason: String, hint: String? = nil) {
    problems.append(Problem(kind: "file", id: "", path: "", reason: reason, hint: hint, file: shown))
  }

  // MARK: - Documents

  private mutating func take(_ bytes: [UInt8], file: String, isJSON: Bool, base: PathBase) {
    let text = DocumentText(bytes, file: file, isJSON: isJSON)
    problems += text.problems
    for part in text.parts where !part.value.isNull {
      let origin = "\(file):\(part.positions.firstLine)"
      let reading = Document.read(part.value, origin: origin)
      guard var document = reading.value else {
        problems += reading.problems.map(part.positions.locate)
        continue
      }
      document.fields = DocumentPaths.absolute(document.fields, kind: document.kind, base: base)
      documents.append(document)
      isDerived.append(part.value["_id"].map(\.isNull) ?? true)
      origins.append(part.positions)
    }
  }

  private mutating func finish() {
    let unique = Document.makeUnique(&documents, isDerived: isDerived)
    for (document, place) in zip(documents, origins) {
      let key = "\(document.kind.rawValue) \(document.id)"
      if positions[key] == nil { positions[key] = place }
    }
    problems += locate(unique)
    origins = []
  }
}
