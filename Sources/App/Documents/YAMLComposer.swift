internal import Model
internal import Yams

/// Makes values with positions from YAML documents, within bounds, and says what is wrong in a person's words.
struct YAMLComposer {
  let file: String
  var parts: [DocumentText.Part] = []
  var problems: [Problem] = []
  /// Values that may still be made; aliases count each time they are used.
  private var valuesLeft = DocumentText.values
  var isExhausted: Bool { valuesLeft <= 0 }

  init(file: String) { self.file = file }

  mutating func compose(_ chunk: YAMLChunk) {
    if let line = AliasScan.lineOfComplexKey(chunk.text) {
      return refuse(chunk.firstLine + line - 1, "an alias or a list stands as a field's name", "write the name as text")
    }
    // Nodes are much larger than their text, so what cannot fit is not composed at all.
    if let line = Self.lineOfTooMany(chunk.text) {
      valuesLeft = 0
      return refuse(
        chunk.firstLine + line - 1, "the file holds more than \(DocumentText.values) values", "split it into several")
    }
    var repeats = RepeatedNames(text: chunk.text)
    while true {
      do {
        guard let root = try Parser(yaml: repeats.text, resolver: .basic, encoding: .utf8).singleRoot() else { return }
        return take(root, chunk, repeats)
      } catch YamlError.duplicatedKeysInMapping(let names, let context) {
        if repeats.rename(at: context.mark) { continue }
        let shown = names.prefix(3).map(FieldReader.quoted).joined(separator: ", ")
        return refuse(
          chunk.firstLine + context.mark.line - 1, "a field stands twice in one map: \(shown)", "keep one of them")
      } catch {
        let fault = YAMLFault(error)
        return refuse(chunk.firstLine + fault.line - 1, "not valid YAML: \(fault.reason)", fault.hint)
      }
    }
  }

  /// The line at which a text certainly has too many values: each value but the first follows one of these characters,
  /// and a name and its value may share one. Text that merely contains them may have twice as many.
  private static func lineOfTooMany(_ text: String) -> Int? {
    var left = DocumentText.values * 2
    var line = 1
    var before: UInt8 = 10
    for byte in text.utf8 {
      switch byte {
      case 44, 91, 123: left -= 1
      case 32, 9: if before == 45 || before == 63 || before == 58 { left -= 1 }
      case 10:
        left -= 1
        line += 1
      default: break
      }
      if left < 0 { return line }
      before = byte
    }
    return nil
  }

  private mutating func take(_ root: Node, _ chunk: YAMLChunk, _ repeats: RepeatedNames) {
    // A list holds documents, as `get -o json` prints them.
    let roots = root.sequence.map { Array($0) } ?? [root]
    for node in roots {
      let line = chunk.firstLine + (node.mark?.line ?? 1) - 1
      var conversion = NodeConversion(
        positions: Positions(file: file, firstLine: line), offset: chunk.firstLine - 1, valuesLeft: valuesLeft,
        hasRepeats: repeats.count > 0)
      let value = conversion.value(of: node, path: "", depth: 0)
      valuesLeft = conversion.valuesLeft
      let id = value["_id"]?.text ?? value["target"]?.text ?? ""
      let kind = value["kind"]?.text.flatMap(DocumentKind.init(name:))?.rawValue ?? "document"
      for fault in conversion.faults {
        problems.append(
          Problem(
            kind: kind, id: id, path: fault.path, reason: fault.reason, hint: fault.hint, file: file, line: fault.line))
      }
      // A damaged document is not read further: its other problems might only follow from this one.
      if conversion.faults.isEmpty { parts.append(.init(value: value, positions: conversion.positions)) }
      if isExhausted { return }
    }
  }

  private mutating func refuse(_ line: Int, _ reason: String, _ hint: String?) {
    problems.append(Problem(kind: "file", id: "", path: "", reason: reason, hint: hint, file: file, line: max(1, line)))
  }
}

/// Turns the nodes of one document into a value, and remembers where each field stands.
private struct NodeConversion {
  struct Fault {
    var path: String
    var line: Int
    var reason: String
    var hint: String?
  }

  var positions: Positions
  /// What is added to a node's line.
  let offset: Int
  var valuesLeft: Int
  /// Whether names were marked because they stand twice.
  let hasRepeats: Bool
  var faults: [Fault] = []

  mutating func value(of node: Node, path: String, depth: Int) -> Value {
    valuesLeft -= 1
    guard valuesLeft >= 0 else {
      if valuesLeft == -1 {
        fault(path, node, "the file holds more than \(DocumentText.values) values", "aliases count too")
      }
      return .null
    }
    if let scalar = node.scalar { return PlainScalar.value(of: scalar) }
    guard depth < DocumentBounds.depth else {
      fault(path, node, "nested deeper than \(DocumentBounds.depth) levels", nil)
      return .null
    }
    if let sequence = node.sequence {
      var elements: [Value] = []
      for (index, element) in sequence.enumerated() {
        let place = "\(path)[\(index)]"
        note(place, element)
        elements.append(value(of: element, path: place, depth: depth + 1))
        if valuesLeft < 0 { break }
      }
      return .array(elements)
    }
    guard let mapping = node.mapping else { return .null }
    var fields: [String: Value] = [:]
    var inherited: [Node] = []
    for (key, element) in mapping {
      guard let written = key.scalar?.string else {
        fault(path, key, "a field's name is not text", "write the name as text")
        continue
      }
      if written == "<<", key.scalar?.style == .plain {
        inherited.append(element)
        continue
      }
      let name = hasRepeats ? RepeatedNames.original(written) : written
      let place = FieldReader.path(path, name)
      note(place, key)
      if name != written { fault(place, key, "the field \(FieldReader.quoted(name)) stands twice", "keep one of them") }
      fields[name] = value(of: element, path: place, depth: depth + 1)
      if valuesLeft < 0 { break }
    }
    for source in inherited { merge(source, into: &fields, path: path, depth: depth) }
    return .object(fields)
  }

  /// `<<: *defaults`: fields of another map, where this one has none of that name.
  private mutating func merge(_ source: Node, into fields: inout [String: Value], path: String, depth: Int) {
    let sources = source.sequence.map { Array($0) } ?? [source]
    for node in sources {
      guard node.mapping != nil, valuesLeft > 0 else {
        if valuesLeft > 0 { fault(path, node, "<< takes a map or a list of maps", "write <<: *name") }
        continue
      }
      if let other = value(of: node, path: path, depth: depth).fields { fields.merge(other) { mine, _ in mine } }
    }
  }

  private mutating func note(_ path: String, _ node: Node) {
    guard let line = node.mark?.line, positions.lines[path] == nil else { return }
    positions.lines[path] = line + offset
  }

  private mutating func fault(_ path: String, _ node: Node, _ reason: String, _ hint: String?) {
    guard faults.count < ProblemList.bound else { return }
    faults.append(
      Fault(
        path: path, line: node.mark.map { $0.line + offset } ?? positions.line(of: path), reason: reason, hint: hint))
  }
}

/// Names that stand twice in one map: the parser stops there, so each is renamed and the text read again. Thus the
/// message can name the whole path, and everything else in the document is still looked at.
struct RepeatedNames {
  var text: String
  private(set) var count = 0

  /// Most repeated names looked for in one document.
  private static let bound = 16
  /// From the private use area: no document means anything by it.
  private static let mark: Character = "\u{F8F0}"

  init(text: String) { self.text = text }

  mutating func rename(at mark: Mark) -> Bool {
    guard count < Self.bound, mark.line >= 1, mark.column >= 1 else { return false }
    var scalars = text.unicodeScalars
    var index = scalars.startIndex
    var line = 1
    while line < mark.line {
      guard let end = scalars[index...].firstIndex(of: "\n") else { return false }
      index = scalars.index(after: end)
      line += 1
    }
    guard var place = scalars.index(index, offsetBy: mark.column - 1, limitedBy: scalars.endIndex),
      place < scalars.endIndex
    else { return false }
    switch scalars[place] {
    case "\"", "'": place = scalars.index(after: place)
    // Properties, aliases and other beginnings are left alone.
    case "&", "!", "*", "?", "[", "{", "|", ">", " ", "\t", "\n", ":": return false
    default: break
    }
    count += 1
    scalars.insert(contentsOf: "\(Self.mark)\(count)\(Self.mark)".unicodeScalars, at: place)
    text = String(scalars)
    return true
  }

  /// The name as it was written.
  static func original(_ name: String) -> String {
    guard name.first == mark, let end = name.dropFirst().firstIndex(of: mark) else { return name }
    return String(name[name.index(after: end)...])
  }
}
