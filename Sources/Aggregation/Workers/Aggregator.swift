package import Model
package import Remote
package import Supervision

/// What is wanted of one target.
package struct AggregationTarget: Sendable {
  package var target: Target
  package var plan: AggregationPlan
  /// Differs when the connection has to be made anew: see ``Model/Target/connectionDigest``.
  package var connectionDigest: String
  /// What is known of the host from earlier (`detected_specs`), so that a reboot in between is seen.
  package var known: HostFacts?

  package init(target: Target, plan: AggregationPlan, connectionDigest: String? = nil, known: HostFacts? = nil) {
    self.target = target
    self.plan = plan
    self.connectionDigest = connectionDigest ?? target.connectionDigest
    self.known = known
  }
}

/// Turns the targets that are wanted into children for a populator, and brings changed plans to those that live.
///
/// The children belong below a supervisor named "Aggregator". Their identity is the target's name and the digest of its
/// connection only: everything else that changes reaches the living worker without ending it.
package actor Aggregator {
  private struct Entry {
    var wanted: AggregationTarget
    var link: Link
    /// The newest life of this target's worker.
    var worker: TargetWorker?
  }

  private let settings: AggregationSettings
  /// One for each wanted target.
  private var entries: [String: Entry] = [:]

  package init(_ settings: AggregationSettings) { self.settings = settings }

  /// The children for what is wanted now. Applies changed plans to the living workers on the way.
  ///
  /// Call it in the populator's read of the desired children. Of two targets with one name the first counts; targets
  /// that are not enabled are left out.
  package func children(for targets: [AggregationTarget]) async -> [ChildSpec] {
    var next: [String: Entry] = [:]
    var specs: [ChildSpec] = []
    for wanted in targets where wanted.target.isEnabled && next[wanted.target.name] == nil {
      let name = wanted.target.name
      if let entry = entries[name], entry.wanted.connectionDigest == wanted.connectionDigest {
        next[name] = Entry(wanted: wanted, link: entry.link, worker: entry.worker)
      } else {
        // A new connection has a new policy: what was refused before may have been mended.
        next[name] = Entry(wanted: wanted, link: Link())
      }
      specs.append(spec(wanted))
    }
    entries = next
    for entry in next.values { await entry.worker?.apply(entry.wanted.plan) }
    return specs
  }

  /// The live connection of a target, for commands that share it.
  /// - Throws: why there is none; also when there is no such target.
  package func remote(of target: String) async throws(RemoteError) -> any Remote {
    guard let entry = entries[target] else {
      throw RemoteError(.unreachable, phase: .connection, "there is no target \"\(target)\" that is watched")
    }
    return try await entry.link.remote()
  }

  /// How a target's metrics fare under its budget: `{factor, loaded, load, metrics: {TITLE: {every, state, why}}}`; nil
  /// when nothing is gathered there.
  package func touchState(of target: String) async -> Value? { await entries[target]?.worker?.shared.warden.state }

  /// A target's plan as its budget and its load let it be kept at present: what reactions may expect to see.
  package func asGathered(_ plan: AggregationPlan, of target: String) async -> AggregationPlan {
    await entries[target]?.worker?.shared.warden.asGathered(plan) ?? plan
  }

  /// Ends the wait before the next attempt to connect, after something was mended.
  package func reconnect(_ target: String) async { await entries[target]?.link.hurry() }

  func worker(of target: String) -> TargetWorker? { entries[target]?.worker }

  private func spec(_ wanted: AggregationTarget) -> ChildSpec {
    let name = wanted.target.name
    return ChildSpec(
      id: "Aggregator for \(name)", digest: wanted.connectionDigest, kind: .supervisor, backoff: Backoff()
    ) { [weak self] context in
      await self?.makeWorker(name, digest: wanted.connectionDigest, context)
    }
  }

  private func makeWorker(_ name: String, digest: String, _ context: ChildContext) -> TargetWorker? {
    // No longer wanted, or wanted otherwise: the populator is about to say so.
    guard let entry = entries[name], entry.wanted.connectionDigest == digest else { return nil }
    let worker = TargetWorker(
      entry.wanted.target, plan: entry.wanted.plan, link: entry.link, known: entry.wanted.known, settings: settings,
      context: context)
    entries[name]?.worker = worker
    return worker
  }
}

extension Target {
  /// Equal as long as the connection may be kept: host, port, user, credentials, pin and jump. Where a jump is named,
  /// App adds what the jump itself is.
  package var connectionDigest: String {
    let parts: [String?] = [
      host, String(port), user, identityFile, passwordFile,
      passwordCommand.map { Value.array($0.map(Value.string)).json() },
      usesAgent ? "agent" : nil, certificateFile, hostKeyPin, jump, transport?.rawValue, sshConfig,
    ]
    return Value.array(parts.map { $0.map(Value.string) ?? .null }).json()
  }
}
