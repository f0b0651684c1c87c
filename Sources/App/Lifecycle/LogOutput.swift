internal import FoundationEssentials
internal import Glibc
package import Logging
internal import Model
internal import Threads

/// Writes log lines to stderr: one line each, as text or JSON, control characters escaped.
package struct LogOutput: LogHandler {
  package var metadata: Logger.Metadata = [:]
  package var logLevel: Logger.Level
  private let label: String
  private let isJSON: Bool
  private let descriptor: Int32

  /// - Parameter descriptor: 2 is stderr.
  package init(label: String, level: Logger.Level, isJSON: Bool, descriptor: Int32 = 2) {
    self.label = label
    self.isJSON = isJSON
    self.descriptor = descriptor
    logLevel = level
  }

  package subscript(metadataKey key: String) -> Logger.Metadata.Value? {
    get { metadata[key] }
    set { metadata[key] = newValue }
  }

  package func log(event: LogEvent) {
    var all = metadata
    if let own = event.metadata { all.merge(own) { _, new in new } }
    let line = isJSON ? json(event.level, event.message, all) : text(event.level, event.message, all)
    Self.write(line, descriptor)
  }

  private func json(_ level: Logger.Level, _ message: Logger.Message, _ metadata: Logger.Metadata) -> String {
    var fields: [String: Value] = [
      "at": .date(Date()), "level": .string(level.rawValue), "message": .string(message.description),
      "label": .string(label),
    ]
    for (name, value) in metadata { fields[name] = .string(value.description) }
    return Value.object(fields).json() + "\n"
  }

  private func text(_ level: Logger.Level, _ message: Logger.Message, _ metadata: Logger.Metadata) -> String {
    var line = "\(Instant.format(Date())) \(level.rawValue) \(message)"
    for (name, value) in metadata.sorted(by: { $0.key < $1.key }) {
      // As JSON text: quotes and control characters cannot break the line.
      line += " \(name)=\(Value.string(value.description).json())"
    }
    return line + "\n"
  }

  /// One write for a line, so that lines of several threads do not mix.
  private static func write(_ line: String, _ descriptor: Int32) {
    let bytes = Array(line.utf8)
    _ = bytes.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
  }
}
