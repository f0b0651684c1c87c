/// Why a supervisor ended, or why it refused what it was asked.
package struct SupervisorError: Error, Sendable, Equatable, CustomStringConvertible {
  package enum Code: String, Sendable {
    /// Too many restarts in too short a time. `child` failed last, `cause` is its error.
    case intensityExceeded = "intensity_exceeded"
    /// A child could not be started.
    case startFailed = "start_failed"
    case badSpecification = "bad_specification"
    /// A child of this id is there already, alive or not.
    case alreadyPresent = "already_present"
    /// The child is alive.
    case alreadyStarted = "already_started"
    /// The child is waiting for its restart or in the middle of it.
    case isRestarting = "is_restarting"
    case unknownChild = "unknown_child"
    case tooManyChildren = "too_many_children"
    /// The child was terminated before it had started.
    case terminated
    /// The supervisor does not run, or no longer.
    case notRunning = "not_running"
    /// Somebody else already runs this supervisor.
    case alreadyRunning = "already_running"
  }

  package var code: Code
  package var message: String
  /// The child in question.
  package var child: String?
  /// What the child threw, as text.
  package var cause: String?

  package init(_ code: Code, _ message: String, child: String? = nil, cause: String? = nil) {
    self.code = code
    self.message = message
    self.child = child
    self.cause = cause
  }

  package var description: String { message }

  package static func intensityExceeded(child: String, lastError: String, intensity: Intensity) -> SupervisorError {
    SupervisorError(
      .intensityExceeded,
      "more than \(intensity.restarts) restarts within \(intensity.period); the last was of \"\(child)\": \(lastError)",
      child: child, cause: lastError)
  }

  package static func startFailed(child: String, _ cause: String) -> SupervisorError {
    SupervisorError(.startFailed, "child \"\(child)\" did not start: \(cause)", child: child, cause: cause)
  }

  package static func badSpecification(child: String, _ problem: String) -> SupervisorError {
    SupervisorError(.badSpecification, "bad specification of child \"\(child)\": \(problem)", child: child)
  }

  static func alreadyPresent(_ child: String) -> SupervisorError {
    SupervisorError(
      .alreadyPresent, "there is a child \"\(child)\" already; restart, replace or delete it", child: child)
  }

  static func alreadyStarted(_ child: String) -> SupervisorError {
    SupervisorError(.alreadyStarted, "child \"\(child)\" is alive; terminate it first", child: child)
  }

  static func isRestarting(_ child: String) -> SupervisorError {
    SupervisorError(.isRestarting, "child \"\(child)\" is being restarted; terminate it first", child: child)
  }

  static func unknownChild(_ child: String) -> SupervisorError {
    SupervisorError(.unknownChild, "there is no child \"\(child)\"", child: child)
  }

  static func tooManyChildren(_ maximum: Int) -> SupervisorError {
    SupervisorError(.tooManyChildren, "the supervisor has its \(maximum) children already")
  }

  static func terminated(_ child: String) -> SupervisorError {
    SupervisorError(.terminated, "child \"\(child)\" was terminated before it had started", child: child)
  }

  static func notRunning(_ name: String) -> SupervisorError {
    SupervisorError(.notRunning, "supervisor \"\(name)\" does not run")
  }

  static func alreadyRunning(_ name: String) -> SupervisorError {
    SupervisorError(
      .alreadyRunning, "supervisor \"\(name)\" was started elsewhere and still runs; give each place its own")
  }
}
