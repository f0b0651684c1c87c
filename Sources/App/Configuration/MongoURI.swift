internal import Foundation
internal import Model

/// A `mongodb://` URI as people write it into `store`: taken apart only to say what is wrong with it before anything
/// connects, and put together again without a user and with absolute paths of files.
///
/// Format: https://www.mongodb.com/docs/manual/reference/connection-string/, of which the options are those that
/// libmongoc 1.23 knows.
struct MongoURI: Sendable, Hashable {
  var scheme: String
  /// Before the `@`, percent-decoded.
  var user: String?
  var hosts: [String]
  var database: String
  var options: [Option]

  struct Option: Sendable, Hashable {
    /// In the spelling of the documentation.
    var name: String
    var value: String
  }

  static let example = "mongodb://db-1.example.org,db-2.example.org/syscrap?replicaSet=rs0"

  /// Reads a URI of the field `store`; everything that is wrong is refused in `problems`.
  static func read(_ text: String, base: PathBase, _ problems: ProblemList) -> MongoURI? {
    guard !LiteralSecrets.holdsPassword(text) else {
      problems.refuse(
        "store", "the URI carries a password", hint: "write store_username and store_password_file beside it")
      return nil
    }
    guard let scheme = ["mongodb", "mongodb+srv"].first(where: { text.lowercased().hasPrefix($0 + "://") }) else {
      problems.refuse("store", "the URI is not complete", hint: "for example \(example)")
      return nil
    }
    guard text.unicodeScalars.allSatisfy({ $0.value > 32 && $0.value < 127 }), !text.contains("#") else {
      problems.refuse(
        "store", "a URI has no spaces, no # and only ASCII characters", hint: "write them percent-encoded: %20")
      return nil
    }
    var rest = text.dropFirst(scheme.utf8.count + 3)
    var query: Substring = ""
    if let mark = rest.firstIndex(of: "?") {
      query = rest[rest.index(after: mark)...]
      rest = rest[..<mark]
    }
    var database: Substring = ""
    if let slash = rest.firstIndex(of: "/") {
      database = rest[rest.index(after: slash)...]
      rest = rest[..<slash]
    }
    var user: String?
    if let at = rest.lastIndex(of: "@") {
      let name = rest[..<at].hasSuffix(":") ? rest[..<at].dropLast() : rest[..<at]
      user = String(name).removingPercentEncoding
      rest = rest[rest.index(after: at)...]
    }
    let hosts = rest.split(separator: ",", omittingEmptySubsequences: false).map(String.init)
    let before = refusals(problems)
    check(hosts: hosts, isSRV: scheme == "mongodb+srv", problems)
    let name = String(database).removingPercentEncoding ?? ""
    check(database: name, problems)
    let options = options(query, base: base, problems)
    guard refusals(problems) == before else { return nil }
    return MongoURI(scheme: scheme, user: user, hosts: hosts, database: name, options: options)
  }

  private static func refusals(_ problems: ProblemList) -> Int {
    problems.problems.count { $0.level == .refused && $0.path == "store" }
  }

  // MARK: Put together

  /// For the driver: no user, no password, absolute paths.
  var text: String {
    var text = "\(scheme)://\(hosts.joined(separator: ","))/\(Self.encoded(database))"
    if !options.isEmpty {
      text += "?" + options.map { "\($0.name)=\(Self.encoded($0.value))" }.joined(separator: "&")
    }
    return text
  }

  /// Whether the mechanism takes a user's password.
  var takesPassword: Bool {
    let mechanism = options.first { $0.name == "authMechanism" }?.value.uppercased() ?? ""
    return !["MONGODB-X509", "GSSAPI", "MONGODB-AWS"].contains(mechanism)
  }

  // MARK: Checks

  private static func check(hosts: [String], isSRV: Bool, _ problems: ProblemList) {
    guard hosts != [""] else {
      return problems.refuse("store", "the URI names no host", hint: "for example \(example)")
    }
    for host in hosts where !isPlace(host) {
      problems.refuse(
        "store", "\(FieldReader.quoted(host)) is not host[:port]", hint: "several are written host-1:27017,host-2:27017"
      )
    }
    if isSRV, hosts.count != 1 || hosts.contains(where: { $0.contains(":") }) {
      problems.refuse(
        "store", "mongodb+srv:// takes one name without a port", hint: "the name's DNS records say hosts and ports")
    }
  }

  /// `host`, `host:port`, `[v6]`, `[v6]:port`, or a unix socket with its slashes encoded.
  private static func isPlace(_ text: String) -> Bool {
    if text.lowercased().hasPrefix("%2f"), text.hasSuffix(".sock") { return true }
    var host = text[...]
    var tail: Substring = ""
    if text.hasPrefix("[") {
      guard let end = text.firstIndex(of: "]") else { return false }
      host = text[text.index(after: text.startIndex)..<end]
      tail = text[text.index(after: end)...]
      guard host.contains(":") else { return false }
    } else if let colon = text.firstIndex(of: ":") {
      host = text[..<colon]
      tail = text[colon...]
    }
    if !tail.isEmpty {
      guard tail.hasPrefix(":"), let port = UInt16(tail.dropFirst()), port > 0 else { return false }
    }
    return URIText.isHost(String(host))
  }

  private static func check(database: String, _ problems: ProblemList) {
    guard !database.isEmpty else {
      return problems.refuse(
        "store", "the URI names no database", hint: "write it after the hosts: mongodb://…/syscrap")
    }
    // What MongoDB takes on every platform; a slash too many lands here, too.
    if database.utf8.count > 63 || database.contains(where: { "/\\. \"$*<>:|?".contains($0) }) {
      problems.refuse(
        "store", "\(FieldReader.quoted(database)) cannot be a database's name",
        hint: "letters, digits, - and _, at most 63 characters: mongodb://…/syscrap")
    }
    if ["admin", "local", "config"].contains(database) {
      problems.refuse(
        "store", "the database \(database) is MongoDB's own",
        hint: "write mongodb://…/syscrap; where users are kept says authSource=\(database)")
    }
  }

  private static let known = [
    "appName", "authMechanism", "authMechanismProperties", "authSource", "compressors", "connectTimeoutMS",
    "directConnection", "heartbeatFrequencyMS", "journal", "loadBalanced", "localThresholdMS", "maxPoolSize",
    "readConcernLevel", "readPreference", "replicaSet", "retryReads", "retryWrites", "serverSelectionTimeoutMS",
    "serverSelectionTryOnce", "socketCheckIntervalMS", "socketTimeoutMS", "srvMaxHosts", "srvServiceName", "ssl", "tls",
    "tlsAllowInvalidCertificates", "tlsAllowInvalidHostnames", "tlsCAFile", "tlsCertificateKeyFile",
    "tlsDisableCertificateRevocationCheck", "tlsDisableOCSPEndpointCheck", "tlsInsecure", "w", "waitQueueTimeoutMS",
    "wTimeoutMS", "zlibCompressionLevel",
  ]
  private static let files = ["tlsCAFile", "tlsCertificateKeyFile"]
  private static let unsafe = ["tlsAllowInvalidCertificates", "tlsAllowInvalidHostnames", "tlsInsecure"]
  /// Options that would break what the store promises; only this one value is taken.
  private static let promises = [
    "w": "majority", "journal": "true", "readPreference": "primary", "retryWrites": "true",
  ]

  private static func options(_ query: Substring, base: PathBase, _ problems: ProblemList) -> [Option] {
    var options: [Option] = []
    for part in query.split(separator: "&") {
      let pair = part.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
      let written = pair[0]
      if written.lowercased() == "tlscertificatekeyfilepassword" {
        problems.refuse(
          "store", "the URI carries a secret: \(written)", hint: "use a key file without a passphrase, mode 600")
        continue
      }
      guard let name = known.first(where: { $0.lowercased() == written.lowercased() }) else {
        problems.refuse(
          "store", "unknown option \(FieldReader.quoted(written)) in the URI",
          hint: NearestName.find(written, in: known).map { "did you mean \($0)?" }
            ?? "see the connection strings of MongoDB's manual")
        continue
      }
      guard pair.count == 2, var value = pair[1].removingPercentEncoding, !value.isEmpty else {
        problems.refuse("store", "the option \(name) in the URI has no value", hint: "write \(name)=…")
        continue
      }
      if let only = promises[name], value.lowercased() != only {
        problems.refuse(
          "store", "\(name)=\(FieldReader.quoted(value)) would break what the store promises",
          hint: "leave \(name) out: \(only) is what is used")
        continue
      }
      if unsafe.contains(name), value.lowercased() == "true" {
        problems.warn(
          "store", "\(name)=true: nobody checks that it is your server", hint: "give its authority: tlsCAFile=…")
      }
      if files.contains(name) { value = base.absolute(value) }
      options.append(Option(name: name, value: value))
    }
    return options
  }

  private static func encoded(_ text: String) -> String {
    text.addingPercentEncoding(withAllowedCharacters: plain) ?? text
  }
  private static let plain = CharacterSet(
    charactersIn: "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~/:,")
}
