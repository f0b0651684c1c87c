internal import Foundation
package import Model

/// Paths that documents and the configuration name: `~` and relative ones become absolute.
package struct PathBase: Sendable, Hashable {
  /// What relative paths start from: absolute, without a slash at the end.
  package var folder: String
  /// What `~` stands for; nil where there is no home.
  package var home: String?

  package init(folder: String, home: String?) {
    self.folder = folder
    self.home = home
  }

  /// The absolute path, without `.` and `..`; an empty text stays empty.
  package func absolute(_ path: String) -> String {
    guard !path.isEmpty else { return path }
    if let home, path == "~" || path.hasPrefix("~/") { return Self.normal(home + path.dropFirst()) }
    return Self.normal(path.hasPrefix("/") ? path : folder + "/" + path)
  }

  private static func normal(_ path: String) -> String {
    var parts: [Substring] = []
    for part in path.split(separator: "/") where part != "." {
      if part == ".." { _ = parts.popLast() } else { parts.append(part) }
    }
    return "/" + parts.joined(separator: "/")
  }
}

/// The fields of documents that hold paths on this machine. Paths of metrics are the target's and stay as they are.
package enum DocumentPaths {
  package static let fields: [DocumentKind: [String]] = [
    .targets: ["identity_file", "password_file", "certificate_file", "ssh_config"],
    .notification_options: [
      "password_file", "ca_file", "webhook_url_file", "token_file", "headers_file", "secret_file",
    ],
  ]

  /// The fields with their paths made absolute.
  package static func absolute(_ fields: [String: Value], kind: DocumentKind, base: PathBase) -> [String: Value] {
    var result = fields
    for name in Self.fields[kind] ?? [] {
      if let path = fields[name]?.text { result[name] = .string(base.absolute(path)) }
    }
    return result
  }
}

extension PathBase {
  /// The path with symbolic links followed.
  static func resolved(_ path: String) -> String { URL(fileURLWithPath: path).resolvingSymlinksInPath().path }
}
