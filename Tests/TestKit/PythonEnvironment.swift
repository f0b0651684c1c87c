internal import Foundation

/// The Python that test servers run in: one with aiosmtpd and cryptography.
///
/// Looked for in this order: the program named by `SYSCRAP_TEST_PYTHON`, `.build/test-venv/bin/python` below the
/// working directory, `python3` in PATH. Nothing is installed here.
package enum PythonEnvironment {
  /// The program, or nil when none of the candidates has the modules.
  package static let program: String? = {
    var candidates = [".build/test-venv/bin/python", "python3"]
    if let named = ProcessInfo.processInfo.environment["SYSCRAP_TEST_PYTHON"], !named.isEmpty {
      candidates.insert(named, at: 0)
    }
    return candidates.first { hasModules($0) }
  }()

  /// Whether tests that need a Python server should run: it is there, or this is CI, where its absence is a failure.
  package static var isExpected: Bool {
    program != nil || ProcessInfo.processInfo.environment["CI"] == "true"
  }

  /// What to say where `isExpected` is false.
  package static let absence =
    "no python3 with aiosmtpd and cryptography; name one in SYSCRAP_TEST_PYTHON or start the tests with Tests/run"

  /// The program, or an error that says what is missing.
  package static func required() throws -> String {
    guard let program else { throw ManagedProcessError(absence) }
    return program
  }

  private static func hasModules(_ candidate: String) -> Bool {
    // Not by Foundation's Process: its wait can miss the end of a child when another is started at that moment.
    guard let process = try? ManagedProcess([candidate, "-c", "import aiosmtpd.smtp, cryptography.x509"]) else {
      return false
    }
    return process.waitUntilExit(within: 60) == 0
  }
}
