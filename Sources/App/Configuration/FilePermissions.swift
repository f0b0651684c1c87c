internal import Foundation
package import Model

/// Who else may read or change the files that everything rests on.
///
/// Refused is what others may write: whoever can change the configuration or a key is the service. Warned of is what
/// others may read although it is a secret.
package enum FilePermissions {
  /// Of the configuration file.
  package static func ofConfiguration(_ path: String) -> [Problem] {
    guard let mode = mode(path) else { return [] }
    if mode & 0o002 != 0 {
      return [problem(.refused, "", path, "everyone may write the configuration", "chmod 640 \(path)")]
    }
    if mode & 0o020 != 0 {
      return [problem(.warning, "", path, "the configuration's group may write it", "chmod 640 \(path)")]
    }
    return []
  }

  /// Of the files that a configuration names: keys, tokens, passwords, and the state directory.
  package static func of(_ configuration: Configuration) -> [Problem] {
    var problems: [Problem] = []
    for (index, path) in configuration.ssh.identityFiles.enumerated() {
      problems += secret(path, "ssh.identity_files[\(index)]", mustExist: false)
    }
    if let path = configuration.http.tokenFile { problems += secret(path, "http.token_file", mustExist: true) }
    if let path = configuration.storePasswordFile { problems += secret(path, "store_password_file", mustExist: true) }
    if let mode = mode(configuration.stateDirectory) {
      let path = configuration.stateDirectory
      if mode & 0o002 != 0 {
        problems.append(
          problem(.refused, "state_dir", path, "everyone may write the state directory", "chmod 700 \(path)"))
      } else if mode & 0o077 != 0 {
        problems.append(
          problem(.warning, "state_dir", path, "others may look into the state directory", "chmod 700 \(path)"))
      }
    }
    return problems
  }

  /// Of the secrets that documents name.
  package static func of(_ documents: [Document]) -> [Problem] {
    documents.flatMap { document in
      (DocumentPaths.fields[document.kind] ?? []).filter {
        !["ca_file", "certificate_file", "ssh_config"].contains($0)
      }
      .flatMap { name -> [Problem] in
        guard let path = document.fields[name]?.text, path.hasPrefix("/") else { return [] }
        return secret(path, name, mustExist: true).map { problem in
          var named = problem
          named.kind = document.kind.rawValue
          named.id = document.id
          named.file = nil
          return named
        }
      }
    }
  }

  private static func secret(_ path: String, _ field: String, mustExist: Bool) -> [Problem] {
    guard let mode = mode(path) else {
      guard mustExist else { return [] }
      return [
        problem(.warning, field, path, "there is no file \(path), or it cannot be reached", "create it with chmod 600")
      ]
    }
    if mode & 0o022 != 0 {
      return [problem(.refused, field, path, "others may write \(path)", "chmod 600 \(path)")]
    }
    if mode & 0o044 != 0 {
      return [problem(.warning, field, path, "others may read \(path)", "chmod 600 \(path)")]
    }
    return []
  }

  /// The permission bits of what a path leads to; nil where there is nothing.
  private static func mode(_ path: String) -> Int? {
    let attributes = try? FileManager.default.attributesOfItem(atPath: PathBase.resolved(path))
    return (attributes?[.posixPermissions] as? NSNumber)?.intValue
  }

  private static func problem(
    _ level: Problem.Level, _ field: String, _ path: String, _ reason: String, _ hint: String
  ) -> Problem {
    Problem(
      level, kind: Configuration.kind, id: "", path: field, reason: reason, hint: hint, file: field.isEmpty ? path : nil
    )
  }
}
