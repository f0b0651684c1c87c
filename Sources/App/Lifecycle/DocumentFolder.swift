internal import Foundation
internal import Logging
internal import Model
internal import Supervision
internal import Threads

/// Keeps the configuration's `documents` applied: files and folders as the source of what is watched.
///
/// They are read at the start and whenever their content changed; a broken file changes nothing and is a problem that
/// people see, and no other file suffers. Documents that are in no file stay as they are.
struct DocumentFolder: Supervised {
  private let parts: Parts

  init(_ parts: Parts) { self.parts = parts }

  func run() async throws {
    var last: [Value]?
    while true {
      // The files of the instance that gathers count; another's may be older.
      guard parts.leadership.role.isActive else {
        last = nil
        try await parts.clock.sleep(for: parts.configuration.population.step)
        continue
      }
      let paths = parts.configuration.documents
      let read = try await parts.pool.run { DocumentFiles.read(paths, base: .current) }
      let content = read.documents.map(\.value)
      if content != last || !read.problems.isEmpty {
        // What could not be stored is tried again with the next look.
        last = await apply(read) ? content : nil
      }
      try await parts.clock.sleep(for: parts.configuration.population.step)
    }
  }

  /// - Returns: false when the store did not take them.
  private func apply(_ read: DocumentFiles) async -> Bool {
    do throws(OperationError) {
      let report = try await parts.desk.apply(read.documents, dryRun: false)
      await parts.trouble.set(files: DocumentFiles.ordered(read.problems + read.locate(report.problems)))
      let changed = report.items.count { $0.outcome == "created" || $0.outcome == "changed" }
      if changed > 0 {
        parts.logger.info("Documents were applied from files", metadata: ["documents.changed": "\(changed)"])
      }
      return true
    } catch {
      let problem = Problem(kind: "documents", id: "files", path: "", reason: error.message)
      await parts.trouble.set(files: DocumentFiles.ordered(read.problems + [problem]))
      return false
    }
  }
}

extension PathBase {
  /// What relative paths of this process start from.
  package static var current: PathBase {
    PathBase(
      folder: FileManager.default.currentDirectoryPath, home: ProcessInfo.processInfo.environment["HOME"])
  }
}
