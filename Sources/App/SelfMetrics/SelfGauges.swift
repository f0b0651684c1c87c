internal import FoundationEssentials
internal import Glibc
internal import Metrics
internal import Model
internal import Storage
internal import Supervision

/// The figures that are read when somebody asks, rather than counted as they happen.
struct SelfGauges {
  private let registry: PrometheusRegistry

  init(_ registry: PrometheusRegistry) { self.registry = registry }

  func read(_ parts: Parts, tree: TreeNode?, zombies: Int, uptime: Duration) async {
    set("up_seconds", Double(uptime.components.seconds))
    set("zombie_children", Double(zombies))
    set("problems", Double(await parts.trouble.all().count))
    if let counts = try? await parts.storage.queueCounts(now: parts.now()) {
      for (name, figure) in [
        ("accepted_total", counts.accepted), ("delivered_total", counts.delivered), ("merged_total", counts.merged),
        ("dead_total", counts.dead), ("pending", counts.pending), ("in_flight", counts.leased),
      ] { set("notifications_\(name)", Double(figure)) }
      set("queue_imbalance", Double(counts.imbalance))
      set(
        "notifications_oldest_age_seconds",
        counts.oldestPending.map { max(0, parts.now().timeIntervalSince($0)) } ?? 0)
    }
    let recorder = await parts.recorder.statistics
    set("samples_received_total", Double(recorder.received))
    set("samples_stored_total", Double(recorder.stored))
    set("samples_dropped_total", Double(recorder.dropped))
    set("samples_waiting", Double(recorder.waiting))
    set("store_failures_total", Double(recorder.failures))
    set("clock_steps_total", Double(recorder.clockSteps))
    set("history_deletes_paused", recorder.agesArePaused ? 1 : 0)
    if let journaled = parts.journaled {
      let status = await journaled.status
      set("store_away", status.condition == .present ? 0 : 1)
      set("spool_bytes", Double(status.journal.bytes))
      set("spool_operations", Double(status.journal.operations))
      set("spool_oldest_seconds", status.journal.oldest.map { max(0, parts.now().timeIntervalSince($0)) } ?? 0)
      for kind in JournalLoss.allCases {
        set("spool_dropped_total", Double(status.journal.dropped[kind] ?? 0), [("kind", kind.rawValue)])
      }
      set("spool_refused_total", Double(status.journal.refused))
    }
    set("active", parts.leadership.role.isActive ? 1 : 0)
    let fleet = await parts.board.fleet()
    for state in ["connecting", "connected", "failed", "lost", "refused"] {
      set("targets", Double(fleet.count { $0["state"]?.text == state }), [("state", state)])
    }
    set("episodes_open", Double(await parts.board.openEpisodes().count))
    if let tree { set("supervised_children", Double(Self.count(tree))) }
    if let memory = Self.residentBytes() { set("resident_memory_bytes", Double(memory)) }
    if let open = try? FileDescriptors.count() { set("open_fds", Double(open)) }
  }

  private func set(_ name: String, _ value: Double, _ dimensions: [(String, String)] = []) {
    registry.makeMeter(label: name, dimensions: dimensions).set(value)
  }

  private static func count(_ node: TreeNode) -> Int { node.children.reduce(1) { $0 + count($1) } }

  /// The second figure of /proc/self/statm, in pages.
  private static func residentBytes() -> Int? {
    guard let text = PrivateFile.read("/proc/self/statm") else { return nil }
    let figures = text.split(separator: " ")
    guard figures.count > 1, let pages = Int(figures[1]) else { return nil }
    return pages * Int(sysconf(Int32(_SC_PAGESIZE)))
  }
}

enum FileDescriptors {
  struct Unreadable: Error {}

  /// How many this process has open.
  static func count() throws -> Int {
    guard let folder = opendir("/proc/self/fd") else { throw Unreadable() }
    defer { closedir(folder) }
    var count = 0
    while let entry = readdir(folder) {
      if entry.pointee.d_name.0 != 46 { count += 1 }
    }
    return max(0, count - 1)
  }
}
