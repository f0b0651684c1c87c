internal import Foundation
package import Model

extension Configuration {
  /// Where a configuration is looked for, and what overrides it.
  package struct Sources: Sendable {
    /// `--config`; must exist when given.
    package var path: String?
    package var environment: [String: String]
    package var currentDirectory: String
    package var home: String?
    /// The last place that is looked at.
    package var systemPath = "/etc/syscrap/syscrap.yaml"

    package init(path: String? = nil, environment: [String: String], currentDirectory: String, home: String? = nil) {
      self.path = path
      self.environment = environment
      self.currentDirectory = currentDirectory
      self.home = home ?? environment["HOME"].flatMap { $0.isEmpty ? nil : $0 }
    }

    /// Of this process.
    package static func process(path: String? = nil) -> Sources {
      Sources(
        path: path, environment: ProcessInfo.processInfo.environment,
        currentDirectory: FileManager.default.currentDirectoryPath, home: nil)
    }

    var base: PathBase { PathBase(folder: currentDirectory, home: home) }

    /// The file that counts, and whether a person named it: `--config`, `$SYSCRAP_CONFIG`, `./syscrap.yaml`, the system's.
    func file() -> (path: String, isNamed: Bool)? {
      if let path { return (base.absolute(path), true) }
      if let path = environment["SYSCRAP_CONFIG"], !path.isEmpty { return (base.absolute(path), true) }
      return [base.absolute("syscrap.yaml"), systemPath].first { FileManager.default.fileExists(atPath: $0) }
        .map { ($0, false) }
    }
  }

  /// The kind that its problems name.
  package static let kind = "configuration"

  /// Finds the file, reads it, lays the environment over it, and checks everything; all problems at once.
  ///
  /// Blocks while it reads the file. An empty file, and none at all, is valid.
  /// - Returns: nil as value when the service must not start with it.
  /// - Parameter warnsOfPermissions: whether secrets that others may read are warned of; those that others may write are
  ///   refused always.
  package static func load(_ sources: Sources, warnsOfPermissions: Bool = false) -> Reading<Configuration> {
    guard let (path, isNamed) = sources.file() else {
      return read(DocumentText([], file: ""), file: nil, sources, warnsOfPermissions)
    }
    guard let handle = FileHandle(forReadingAtPath: path) else {
      let reason =
        isNamed && !FileManager.default.fileExists(atPath: path) ? "there is no such file" : "the file cannot be read"
      return Reading(nil, problems: [Problem(kind: kind, id: "", path: "", reason: reason, file: path)])
    }
    var isFolder: ObjCBool = false
    if FileManager.default.fileExists(atPath: path, isDirectory: &isFolder), isFolder.boolValue {
      return Reading(
        nil,
        problems: [
          Problem(
            kind: kind, id: "", path: "", reason: "this is a folder, not a configuration file",
            hint: "documents are given with -f", file: path)
        ])
    }
    var content: [UInt8] = []
    while content.count <= DocumentText.bytes, let more = try? handle.read(upToCount: 1 << 16), !more.isEmpty {
      content += more
    }
    try? handle.close()
    var reading = read(DocumentText(content, file: path), file: path, sources, warnsOfPermissions)
    for problem in FilePermissions.ofConfiguration(path) {
      reading.problems.append(problem)
      if problem.level == .refused { reading.value = nil }
    }
    return reading
  }

  private static func read(
    _ text: DocumentText, file: String?, _ sources: Sources, _ warnsOfPermissions: Bool
  ) -> Reading<Configuration> {
    let problems = ProblemList(kind: kind, id: "")
    var positions = Positions(file: file ?? "", firstLine: 1)
    var fields: [String: Value] = [:]
    if let part = text.parts.first {
      positions = part.positions
      if let written = part.value.fields {
        fields = written
      } else if !part.value.isNull {
        problems.refuse(
          "", "expected a map of keys, found \(part.value.kindName)", hint: "write for example ssh: {user: monitor}")
      }
    }
    if text.parts.count > 1 {
      problems.refuse(
        "", "several documents in one configuration",
        hint: "documents for the store stand in files of their own: documents: [documents/]")
    }
    let folder =
      file.flatMap { path in path.lastIndex(of: "/").map { String(path[..<$0]) } } ?? sources.currentDirectory
    var overrides = EnvironmentOverrides(sources.environment)
    overrides.lay(over: &fields, base: sources.base, problems)
    let value = ConfigurationReader(
      reader: FieldReader(fields, problems: problems), base: PathBase(folder: folder, home: sources.home)
    ).configuration(file: file)
    for problem in FilePermissions.of(value) {
      switch problem.level {
      case .refused: problems.refuse(problem.path, problem.reason, hint: problem.hint)
      case .warning:
        if warnsOfPermissions { problems.warn(problem.path, problem.reason, hint: problem.hint) }
      }
    }
    var reading = problems.reading(text.problems.isEmpty ? value : nil)
    reading.problems =
      text.problems.map { problem in
        var renamed = problem
        renamed.kind = kind
        renamed.id = ""
        return renamed
      }
      + reading.problems.map { problem in
        if let variable = overrides.variable(at: problem.path) {
          var located = problem
          located.file = "$" + variable
          return located
        }
        return file == nil ? problem : positions.locate(problem)
      }
    return reading
  }
}
