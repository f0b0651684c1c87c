internal import FoundationEssentials
internal import Model
internal import Storage

/// One try, with everything that watches over it.
extension QueueWorker {
  struct Attempt {
    var outcome: DeliveryOutcome
    /// Another worker has the message; nothing of this try counts.
    var isLeaseLost = false
    /// The worker was asked to stop and the try did not end in time.
    var wasBrokenOff = false
  }

  private enum Event: Sendable {
    case outcome(DeliveryOutcome)
    case leaseLost
    case stop
    case overdue
    /// A watcher that has nothing to say.
    case nothing
  }

  /// Tries once. `stop` does not break the try off at once: it has ``WorkerContext/drain`` to end, because a mail whose
  /// last reply is missed is sent twice.
  func attempt(
    _ lease: QueueLease, options: NotificationOptions, notifier: any Notifier, timeout: Duration, stop: Doorbell
  ) async -> Attempt {
    await withTaskGroup(of: Event.self) { group in
      group.addTask {
        .outcome(await notifier.deliver(lease.entry, options: options, predecessor: lease.predecessor))
      }
      group.addTask { await keep(lease) ? .nothing : .leaseLost }
      group.addTask {
        await stop.wait(after: 0)
        if Task.isCancelled { return .nothing }
        return (try? await context.clock.sleep(for: context.drain)) == nil ? .nothing : .stop
      }
      group.addTask {
        // The notifier keeps its own deadline and knows more; this one is for a notifier that does not.
        (try? await context.clock.sleep(for: timeout + .seconds(5))) == nil ? .nothing : .overdue
      }
      var attempt = Attempt(outcome: .again(after: nil, answer: "the try ended without an answer", isUnknown: true))
      var isOverdue = false
      for await event in group {
        switch event {
        case .outcome(let outcome):
          attempt.outcome = outcome
          if isOverdue, case .again = outcome {
            attempt.outcome = .again(
              after: nil, answer: "no answer within \(PlainText.duration(timeout))", isUnknown: true)
          }
          if case .delivered = outcome { attempt.wasBrokenOff = false }
          group.cancelAll()
        case .leaseLost:
          attempt.isLeaseLost = true
          group.cancelAll()
        case .stop:
          attempt.wasBrokenOff = true
          group.cancelAll()
        case .overdue:
          isOverdue = true
          group.cancelAll()
        case .nothing: break
        }
      }
      return attempt
    }
  }

  /// How soon a lease is extended that the store did not answer about.
  static var extensionRetry: Duration { .seconds(1) }

  /// Extends the lease at each third of it, and gives the alternates their turn when it comes.
  /// - Returns: false when the lease is no longer ours.
  private func keep(_ lease: QueueLease) async -> Bool {
    let start = context.now()
    var isHandedOn = false
    var pause = context.lease / 3
    while (try? await context.clock.sleep(for: pause)) != nil {
      if !isHandedOn, isTurnOfAlternates(lease.entry, since: start) { isHandedOn = await queueAlternates(of: lease) }
      // A store that is away does not take the lease away; it is asked again soon, so that whoever looks after its return
      // sees the lease move.
      let until = context.now().advanced(by: context.lease)
      let isOurs = try? await context.storage.extend(lease, until: until)
      if isOurs == false { return false }
      pause = isOurs == nil ? min(Self.extensionRetry, context.lease / 3) : context.lease / 3
    }
    return true
  }
}
