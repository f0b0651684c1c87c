internal import Model

/// Reads the keys of a configuration; what is wrong is in the reader's problems.
struct ConfigurationReader {
  let reader: FieldReader
  let base: PathBase

  func configuration(file: String?) -> Configuration {
    reader.allow(
      only: [
        "store", "store_username", "store_password_file", "journal", "state_dir", "ssh", "self", "http", "population",
        "notificator", "alive", "restart", "documents", "log",
      ],
      advice: [
        "listen": "write http: {listen: …}", "user": "write ssh: {user: …}", "level": "write log: {level: …}",
        "targets": "targets are documents: put them in files and name these in documents",
        "metrics": "metrics stand in documents of kind aggregation_options",
        "kind": "this is a document, not a configuration: apply it with syscrap apply -f",
      ])
    var result = Configuration(base: base, stateDirectory: path(reader, "state_dir"))
    result.file = file
    readStore(into: &result)
    readJournal(into: &result)
    readSSH(into: &result)
    readHTTP(into: &result)
    readRest(into: &result)
    return result
  }

  private func path(_ reader: FieldReader, _ name: String) -> String? {
    reader.text(name).map(base.absolute)
  }

  private func paths(_ reader: FieldReader, _ name: String) -> [String]? {
    reader.texts(name)?.map(base.absolute)
  }

  // MARK: - Store

  private func readStore(into result: inout Configuration) {
    result.storeUsername = reader.text("store_username", upTo: 512)
    result.storePasswordFile = path(reader, "store_password_file")
    let example = "for example sqlite:state/syscrap.db"
    guard let text = reader.text("store", example: "sqlite:state/syscrap.db") else { return }
    guard let colon = text.firstIndex(of: ":") else {
      return reader.problems.refuse("store", "the store's kind is missing", hint: example)
    }
    let rest = String(text[text.index(after: colon)...])
    switch text[..<colon].lowercased() {
    case "sqlite":
      // sqlite:///var/lib/x.db is a way that other programs write the same.
      let file = rest.hasPrefix("//") ? String(rest.dropFirst(2)) : rest
      guard !file.isEmpty, !file.hasSuffix("/"), file != ":memory:" else {
        return reader.problems.refuse("store", "the store names no file", hint: example)
      }
      result.store = .sqlite(path: base.absolute(file))
      if reader.value("store_username") != nil || reader.value("store_password_file") != nil {
        reader.problems.warn(
          "store", "sqlite takes no username and no password", hint: "protect the file by its permissions")
      }
    case "mongodb", "mongodb+srv": readMongoStore(text, into: &result)
    case let scheme:
      reader.problems.refuse(
        "store", "unknown kind of store \(FieldReader.quoted(scheme))",
        hint: NearestName.find(scheme, in: ["sqlite", "mongodb"]).map { "did you mean \($0):?" } ?? example)
    }
  }

  private func readMongoStore(_ text: String, into result: inout Configuration) {
    guard let uri = MongoURI.read(text, base: base, reader.problems) else { return }
    result.store = .mongodb(uri: uri.text)
    if uri.user != nil, result.storeUsername != nil, uri.user != result.storeUsername {
      reader.problems.refuse(
        "store", "the URI names a user, and store_username another one", hint: "write the user in one place only")
    }
    result.storeUsername = result.storeUsername ?? uri.user
    guard uri.takesPassword else { return }
    if result.storeUsername != nil, result.storePasswordFile == nil {
      reader.problems.refuse(
        "store_password_file", "the store's user has no password",
        hint: "write store_password_file: PATH of a file with mode 600")
    }
    if result.storeUsername == nil, result.storePasswordFile != nil {
      reader.problems.refuse(
        "store_username", "there is a password for the store, and no user", hint: "write store_username: NAME")
    }
  }

  private func readJournal(into result: inout Configuration) {
    guard let map = reader.map("journal") else { return }
    map.allow(
      only: ["maximum"], advice: ["path": "the journal is journal.db in state_dir", "size": "write maximum: 1GiB"])
    if let maximum = map.size("maximum", in: 1 << 20...1 << 40) { result.journal.maximum = maximum }
    if case .sqlite = result.store {
      reader.problems.warn("journal", "sqlite needs no journal", hint: "it bridges the time while mongodb:// is away")
    }
  }

  // MARK: - SSH and HTTP

  private func readSSH(into result: inout Configuration) {
    guard let map = reader.map("ssh") else { return }
    map.allow(
      only: ["user", "identity_files", "known_hosts", "host_key_policy", "allow_exec", "connect"],
      advice: ["identity_file": "write identity_files: […]", "port": "the port stands in a target's document"])
    if let user = map.text("user", upTo: 255) {
      if user.hasPrefix("-") || user.contains(where: \.isWhitespace) {
        map.problems.refuse(map.path(of: "user"), "\(FieldReader.quoted(user)) cannot be a user's name")
      }
      result.ssh.user = user
    }
    result.ssh.identityFiles = paths(map, "identity_files") ?? result.ssh.identityFiles
    if let files = paths(map, "known_hosts") {
      if files.isEmpty {
        map.problems.refuse(
          map.path(of: "known_hosts"), "the list is empty: no host could be known", hint: "leave it out for the default"
        )
      }
      result.ssh.knownHosts = files
    }
    if let word = map.value("host_key_policy").map({ $0.text?.lowercased() ?? ($0 == false ? "no" : "") }),
      ["no", "off", "none", "ignore", "accept-all", "false"].contains(word)
    {
      map.problems.refuse(
        map.path(of: "host_key_policy"), "host keys are always checked",
        hint: "write strict or accept-new; a changed key is never accepted")
    } else {
      result.ssh.hostKeyPolicy = map.choice("host_key_policy", Configuration.HostKeys.self) ?? .strict
    }
    result.ssh.allowsExec = map.flag("allow_exec") ?? false
    if let connect = map.map("connect") {
      connect.allow(only: ["handshakes", "per_second", "total_per_second"])
      let usual = result.ssh.connect
      result.ssh.connect.handshakes = connect.integer("handshakes", in: 1...1000) ?? usual.handshakes
      result.ssh.connect.perSecond = connect.integer("per_second", in: 1...1000) ?? usual.perSecond
      result.ssh.connect.totalPerSecond = connect.integer("total_per_second", in: 1...10_000) ?? usual.totalPerSecond
    }
  }

  private func readHTTP(into result: inout Configuration) {
    guard let map = reader.map("http") else { return }
    map.allow(
      only: ["listen", "token_file"],
      advice: ["port": "write listen: 127.0.0.1:7070", "host": "write listen: 127.0.0.1:7070"])
    result.http.tokenFile = path(map, "token_file")
    guard let listen = listen(map) else { return }
    result.http.listen = listen
    if !listen.isLoopback, map.value("token_file") == nil {
      map.problems.refuse(
        map.path(of: "listen"), "\(listen) can be reached from other machines, and there is no token_file",
        hint: "write http: {token_file: …}, or listen on 127.0.0.1:7070")
    }
  }

  private func listen(_ map: FieldReader) -> Configuration.Listen? {
    let example = "for example 127.0.0.1:7070, [::1]:7070 or /run/syscrap.sock"
    let place = map.path(of: "listen")
    if let port = map.value("listen")?.integer {
      map.problems.refuse(place, "the address is missing", hint: "write 127.0.0.1:\(port)")
      return nil
    }
    guard let text = map.text("listen", example: "127.0.0.1:7070") else { return nil }
    if text.contains("://") {
      map.problems.refuse(place, "expected an address and a port, found a URI", hint: example)
      return nil
    }
    if text.contains("/") {
      let path = base.absolute(text)
      guard path.utf8.count <= 107 else {
        map.problems.refuse(place, "a unix socket's path has at most 107 bytes", hint: "choose a shorter one")
        return nil
      }
      return .unix(path: path)
    }
    guard let colon = text.lastIndex(of: ":"), let port = Int(text[text.index(after: colon)...]),
      (0...65_535).contains(port)
    else {
      map.problems.refuse(
        place, "expected an address and a port, found \(FieldReader.found(.string(text), place))", hint: example)
      return nil
    }
    var host = String(text[..<colon])
    let isBracketed = host.hasPrefix("[") && host.hasSuffix("]") && host.utf8.count > 2
    if isBracketed { host = String(host.dropFirst().dropLast()) }
    if host.isEmpty {
      map.problems.refuse(place, "the address is missing", hint: "write 127.0.0.1:\(port), or 0.0.0.0:\(port) for all")
      return nil
    }
    if host.contains(":") != isBracketed || !URIText.isHost(host) {
      map.problems.refuse(
        place, "\(FieldReader.quoted(host)) is neither a name nor an IP address",
        hint: host.contains(":") && !isBracketed ? "write [\(host)]:\(port) for an IPv6 address" : example)
      return nil
    }
    return .tcp(host: host, port: port)
  }

  // MARK: - The rest

  private func readRest(into result: inout Configuration) {
    if let map = reader.map("self") {
      map.allow(only: ["notify"])
      let notify = ReactionTarget.notify(map)
      result.notices.notify = notify?.isEmpty == true ? nil : notify
    }
    if let map = reader.map("population") {
      map.allow(only: ["step"])
      result.population.step =
        map.duration("step", in: .milliseconds(100)...Duration.seconds(3600)) ?? result.population.step
    }
    if let map = reader.map("notificator") {
      map.allow(only: ["workers", "max_workers"])
      if let workers = map.integer("workers", in: 1...64) { result.notificator.workers = workers }
      let most = map.integer("max_workers", in: 1...64)
      result.notificator.maxWorkers = most ?? max(result.notificator.maxWorkers, result.notificator.workers)
      if let most, most < result.notificator.workers {
        map.problems.refuse(
          map.path(of: "max_workers"), "\(most) is less than workers: \(result.notificator.workers)",
          hint: "write at least \(result.notificator.workers)")
      }
    }
    if let map = reader.map("alive") {
      map.allow(only: ["file", "interval"])
      result.alive.file = path(map, "file") ?? result.alive.file
      result.alive.interval =
        map.duration("interval", in: .milliseconds(100)...Duration.seconds(3600)) ?? result.alive.interval
    }
    if let map = reader.map("restart") {
      map.allow(only: ["file"])
      result.restart.file = path(map, "file") ?? result.restart.file
    }
    result.documents = paths(reader, "documents") ?? []
    if let map = reader.map("log") {
      map.allow(only: ["level", "format"])
      result.log.level = map.choice("level", Configuration.Log.Level.self) ?? .info
      result.log.format = map.choice("format", Configuration.Log.Format.self) ?? .text
    }
  }
}
