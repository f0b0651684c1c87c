internal import Aggregation
package import Model
package import Remote

/// What the account on one target must be allowed, by what the documents use there.
package struct PrivilegePlan: Sendable {
  /// One question that is asked of the target, and the metrics that ask it.
  package struct Need: Sendable, Hashable {
    package var question: Question
    /// Titles, in the order of the plan; `Host` first.
    package var metrics: [String]
  }

  /// Where the gate and its list are on a target. The gate's own copy of the second is in the script.
  package static let gatePath = "/usr/local/libexec/syscrap-gate"
  package static let listPath = "/etc/syscrap/gate.allow"

  package let target: Target
  /// The account to log in as.
  package let user: String
  package let needs: [Need]
  /// `HOST:PORT` of the targets that are reached through this one.
  package private(set) var forwards: [String] = []
  /// What could not be taken into account, each in a sentence.
  package let notes: [String]

  /// - Parameters:
  ///   - plan: what is gathered; `Host` is added.
  ///   - defaultUser: for a target that names none.
  package init(_ target: Target, plan: AggregationPlan, defaultUser: String) {
    self.target = target
    user = target.user ?? defaultUser
    var needs: [Need] = []
    var notes: [String] = []
    var places: [Question: Int] = [:]
    let host = MetricPlan(metric: "Host", interval: MetricCatalogue.defaultInterval("Host"))
    for metric in [host] + plan.metrics {
      do {
        for question in try BuiltIn.metrics.needs(of: metric) {
          // However much of a file is read, it is the same privilege.
          let key: Question = if case .read(let path, _) = question { .read(path: path, limit: 0) } else { question }
          if let place = places[key] {
            if !needs[place].metrics.contains(metric.title) { needs[place].metrics.append(metric.title) }
          } else {
            places[key] = needs.count
            needs.append(Need(question: question, metrics: [metric.title]))
          }
        }
      } catch {
        notes.append("\(metric.title) cannot run, so what it needs is left out: \(error.reason)")
      }
    }
    self.needs = needs
    self.notes = notes + needs.compactMap { Self.lines(for: $0.question) == nil ? Self.untold($0) : nil }
  }

  /// The plan of a target among documents as they are stored; nil when no usable document describes the target.
  ///
  /// - Parameter name: the target's name or its document's `_id`. One that is switched off counts, too.
  package init?(of name: String, in documents: [Value], defaultUser: String) {
    let set = DocumentSet.read(documents.compactMap { Document.read($0).value }).set
    guard let target = set.targets.first(where: { $0.name == name }) ?? set.targets.first(where: { $0.id == name })
    else { return nil }
    self.init(
      target, plan: AggregationPlan.merge(matching: set.aggregationOptions, target: target), defaultUser: defaultUser)
    forwards = Set(
      set.targets.filter { $0.jump == target.name }.map { target in
        (target.host.contains(":") ? "[\(target.host)]" : target.host) + ":\(target.port)"
      }
    ).sorted()
  }

  // MARK: The gate's list

  /// Asks the gate what it lets through: for `syscrap privileges diff`.
  static let inquiry = Command([gatePath, "allowed"], environment: [:], deadline: .seconds(10))

  /// The lines of the gate's list, grouped by who needs them.
  var listGroups: [(reason: String, lines: [String])] {
    var groups: [(reason: String, lines: [String])] = []
    func add(_ lines: [String], _ reason: String) {
      let new = lines.filter { line in !groups.contains { $0.lines.contains(line) } }
      if let place = groups.firstIndex(where: { $0.reason == reason }) {
        groups[place].lines += new
      } else {
        groups.append((reason, new))
      }
    }
    for need in needs { add(Self.lines(for: need.question) ?? [], need.metrics.joined(separator: ", ")) }
    add(Self.lines(for: .run(Self.inquiry)) ?? [], "syscrap privileges diff")
    return groups.filter { !$0.lines.isEmpty }
  }

  /// The content of ``listPath`` on the target.
  package var list: String {
    let head =
      "# What syscrap-gate lets the monitoring do here; made by: syscrap privileges \(Self.printable(target.name))\n"
    return head
      + listGroups.map { group in
        "\n# \(Self.printable(group.reason))\n" + group.lines.map { $0 + "\n" }.joined()
      }.joined()
  }

  /// The lines that let a question through; nil when the gate has no words for it.
  static func lines(for question: Question) -> [String]? {
    switch question {
    case .read(let path, _):
      guard isPlain(path) else { return nil }
      return ["path \(path)"] + (leads(path).map { ["link \($0)"] } ?? [])
    case .run(let command):
      // Input would not reach a command behind the gate.
      guard command.input.isEmpty, let line = try? ShellQuoting.line(command),
        line.utf8.allSatisfy({ $0 >= 0x20 && $0 != 0x7F })
      else { return nil }
      return ["exec \(line)"]
    }
  }

  /// Whether the gate takes a path: absolute, of plain characters, with no part that is empty or made of dots.
  static func isPlain(_ path: String) -> Bool {
    guard path.hasPrefix("/"), path.utf8.count <= 4096 else { return false }
    let isSafe: (UInt8) -> Bool = { byte in
      (0x30...0x39).contains(byte) || (0x41...0x5A).contains(byte) || (0x61...0x7A).contains(byte)
        || "._/+:@%=,-".utf8.contains(byte)
    }
    return path.utf8.allSatisfy(isSafe)
      && path.dropFirst().split(separator: "/", omittingEmptySubsequences: false).allSatisfy {
        !["", ".", ".."].contains($0)
      }
  }

  /// Where a path leads that is a symbolic link on a usual Linux.
  private static func leads(_ path: String) -> String? {
    if path.hasPrefix("/proc/self/") { return "/proc/*/" + path.dropFirst("/proc/self/".count) }
    if path == "/proc/mounts" || path.hasPrefix("/proc/net/") { return "/proc/*/" + path.dropFirst("/proc/".count) }
    return path == "/etc/os-release" ? "/usr/lib/os-release" : nil
  }

  private static func untold(_ need: Need) -> String {
    "\(need.metrics.joined(separator: ", ")): the gate has no words for \(describe(need.question)), so it will not work "
      + "behind one"
  }

  /// A question in a person's words.
  static func describe(_ question: Question) -> String {
    switch question {
    case .read(let path, _): "reading \(path)"
    case .run(let command): "running \(command.arguments.joined(separator: " "))"
    }
  }

  /// For a line that is to be pasted: a name from a document cannot begin a line of its own.
  static func printable(_ text: String) -> String {
    String(text.prefix(200).map { $0.isASCII && ($0.asciiValue ?? 0) >= 0x20 && $0 != "\u{7F}" ? $0 : "?" })
  }
}
