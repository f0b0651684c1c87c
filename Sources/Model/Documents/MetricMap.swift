/// The metrics of a document, each with its options and with the path at which they were written.
///
/// Both ways to write a dotted name are one: `Vitals.CPU: {…}` and `Vitals: {CPU: {…}}`. Where a document has both, as
/// after `$set: {"metrics.Vitals.CPU.interval": 5}` in MongoDB, the nested one is merged over the other.
struct MetricMap {
  struct Entry {
    var metric: String
    var path: String
    var value: Value
  }

  private(set) var entries: [Entry] = []
  private var places: [String: Int] = [:]

  /// Most metrics in one document.
  static let bound = 256

  /// Reads the map (or, for reactions, a list of names) that stands at `name`.
  init(_ reader: FieldReader, _ name: String, allowsList: Bool = false) {
    guard let value = reader.value(name) else { return }
    if allowsList, value.elements != nil {
      guard value.elements?.count ?? 0 <= Self.bound else {
        reader.problems.refuse(
          reader.path(of: name), "more than \(Self.bound) metrics in one document", hint: "split it")
        return
      }
      for (index, metric) in (reader.texts(name, example: "Vitals.CPU") ?? []).enumerated() {
        add(Entry(metric: metric, path: "\(reader.path(of: name))[\(index)]", value: [:]))
      }
      return
    }
    guard let map = reader.map(name) else { return }
    let names = map.fields.keys.sorted()
    let count = map.fields.reduce(0) {
      $0 + (MetricCatalogue.families.contains($1.key) ? $1.value.fields?.count ?? 1 : 1)
    }
    guard count <= Self.bound else {
      reader.problems.refuse(map.path, "more than \(Self.bound) metrics in one document", hint: "split it")
      return
    }
    for metric in names where !MetricCatalogue.families.contains(metric) {
      add(Entry(metric: metric, path: map.path(of: metric), value: map.fields[metric] ?? .null))
    }
    for family in names where MetricCatalogue.families.contains(family) {
      addFamily(family, map)
    }
    entries.sort { $0.metric < $1.metric }
  }

  private mutating func addFamily(_ family: String, _ map: FieldReader) {
    guard let value = map.value(family) else { return }
    let path = map.path(of: family)
    if value == false {
      for metric in MetricCatalogue.headline.keys.sorted() where metric.hasPrefix(family + ".") {
        add(Entry(metric: metric, path: path, value: false))
      }
      return
    }
    guard let members = map.map(family) else { return }
    for member in members.fields.keys.sorted() {
      add(
        Entry(metric: "\(family).\(member)", path: members.path(of: member), value: members.fields[member] ?? .null))
    }
  }

  private mutating func add(_ entry: Entry) {
    guard let index = places[entry.metric] else {
      places[entry.metric] = entries.count
      return entries.append(entry)
    }
    // The later one counts, map by map; an empty entry adds nothing.
    guard !entry.value.isNull else { return }
    if let below = entries[index].value.fields, let above = entry.value.fields {
      entries[index].value = .object(below.merging(above) { $1 })
    } else {
      entries[index] = entry
    }
  }

  /// Reports a metric that is unknown or not built in, and says whether it can be used.
  static func isUsable(_ entry: Entry, _ available: Availability, _ problems: ProblemList) -> Bool {
    let known = Set(MetricCatalogue.headline.keys)
    switch Availability.standing(entry.metric, known: known, available: available.metrics) {
    case .usable: return true
    case .unavailable:
      problems.refusePart(
        entry.path, "\(entry.metric) is not available in this version",
        hint: "available: \(available.metrics.sorted().joined(separator: ", "))")
    case .unknown:
      problems.refusePart(
        entry.path, "there is no metric \(FieldReader.quoted(entry.metric))",
        hint: NearestName.hint(entry.metric, in: available.metrics))
    }
    return false
  }

  /// The option maps of one entry: one for a map, several for a list, none where it is switched off.
  ///
  /// Empty (`Vitals.CPU:`) and `true` mean: with the defaults. Instances in a list are told apart by `name`.
  static func instances(_ entry: Entry, _ problems: ProblemList) -> [FieldReader] {
    switch entry.value {
    case .bool(false): return []
    case .null, .bool(true): return [FieldReader([:], path: entry.path, problems: problems)]
    case .object(let fields) where entry.value.foreignName == nil:
      return [FieldReader(fields, path: entry.path, problems: problems)]
    case .array(let elements):
      var readers: [FieldReader] = []
      var names: Set<String> = []
      for (index, element) in elements.enumerated() {
        let path = "\(entry.path)[\(index)]"
        guard let fields = element.fields, element.foreignName == nil else {
          problems.refuse(path, "expected a map, found \(FieldReader.found(element, path))")
          continue
        }
        if elements.count > 1 {
          if let name = fields["name"]?.text {
            if !names.insert(name).inserted {
              problems.refuse("\(path).name", "the name \(FieldReader.quoted(name)) stands twice")
            }
          } else if fields["name"] == nil {
            problems.refuse("\(path).name", "name is missing", hint: "several instances are told apart by name")
          }
        }
        readers.append(FieldReader(fields, path: path, problems: problems))
      }
      return readers
    default:
      problems.refuse(
        entry.path, "expected options (a map), found \(FieldReader.found(entry.value, entry.path))",
        hint: "write {} for the defaults, or false to switch it off")
      return []
    }
  }
}
