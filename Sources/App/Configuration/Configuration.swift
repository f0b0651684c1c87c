/// Everything `syscrap.yaml` and the environment say, checked, with the defaults for what they leave out.
///
/// All paths are absolute.
package struct Configuration: Sendable, Hashable {
  /// The file it was read from; nil: no file was there, the defaults count.
  package var file: String?
  package var store: StoreLocation
  package var storeUsername: String?
  package var storePasswordFile: String?
  package var journal = Journal()
  /// What the service writes for itself: the store by default, its known_hosts, its token.
  package var stateDirectory: String
  package var ssh: SSH
  package var notices = SelfNotices()
  package var http = HTTP()
  package var population = Population()
  package var notificator = Notificator()
  package var alive: Alive
  package var restart: Restart
  /// Files and folders of documents that are kept applied.
  package var documents: [String] = []
  package var log = Log()

  /// Where documents, samples and the queue are kept.
  package enum StoreLocation: Sendable, Hashable {
    case sqlite(path: String)
    /// Without user and password; options as in MongoDB's connection strings.
    case mongodb(uri: String)
  }

  /// What bridges the time while a store that is elsewhere does not answer.
  package struct Journal: Sendable, Hashable {
    /// Bytes on disk.
    package var maximum: Int64 = 1 << 30
  }

  /// What counts for targets that do not say otherwise.
  package struct SSH: Sendable, Hashable {
    package var user = "root"
    package var identityFiles: [String]
    package var knownHosts: [String]
    package var hostKeyPolicy = HostKeys.strict
    /// Whether `syscrap exec` may run commands on targets.
    package var allowsExec = false
    package var connect = Connect()

    /// How fast connections may begin.
    package struct Connect: Sendable, Hashable {
      /// Connections to one address, or through one jump host, that have not logged in yet.
      package var handshakes = 4
      /// Connections there that begin within a second.
      package var perSecond = 10
      /// Connections that begin within a second, all together.
      package var totalPerSecond = 50
    }
  }

  /// What happens when a target's host key is not known. A changed key is refused always.
  package enum HostKeys: String, Sendable, Hashable, CaseIterable {
    case strict
    case acceptNew = "accept-new"
  }

  /// Where the service's own notices go.
  package struct SelfNotices: Sendable, Hashable {
    /// Steps as in a reaction's `notify`; nil: all options whose target is `generic`.
    package var notify: [[String]]?
  }

  package struct HTTP: Sendable, Hashable {
    package var listen = Listen.tcp(host: "127.0.0.1", port: 7070)
    /// The token that every request must carry; there always is one beyond loopback.
    package var tokenFile: String?
  }

  package enum Listen: Sendable, Hashable {
    /// Port 0 lets the system choose one.
    case tcp(host: String, port: Int)
    case unix(path: String)
  }

  package struct Population: Sendable, Hashable {
    /// How often documents are compared with what runs.
    package var step: Duration = .seconds(3)
  }

  /// The pool of workers grows with the queue between these.
  package struct Notificator: Sendable, Hashable {
    package var workers = 1
    package var maxWorkers = 8
  }

  /// A file that is touched while the service is well.
  package struct Alive: Sendable, Hashable {
    package var file: String
    package var interval: Duration = .seconds(5)
  }

  /// A file that restarts the service when it is touched.
  package struct Restart: Sendable, Hashable {
    package var file: String
  }

  package struct Log: Sendable, Hashable {
    package var level = Level.info
    package var format = Format.text

    package enum Level: String, Sendable, Hashable, CaseIterable {
      case trace, debug, info, notice, warning, error, critical
    }
    package enum Format: String, Sendable, Hashable, CaseIterable {
      case text, json
    }
  }

  /// The defaults, for a configuration that would stand in this folder.
  package init(base: PathBase, stateDirectory: String? = nil) {
    let state = stateDirectory ?? base.absolute("state")
    self.stateDirectory = state
    store = .sqlite(path: state + "/syscrap.db")
    ssh = SSH(
      identityFiles: [base.absolute("~/.ssh/id_ed25519")],
      knownHosts: [base.absolute("~/.ssh/known_hosts"), state + "/known_hosts"])
    alive = Alive(file: state + "/alive")
    restart = Restart(file: state + "/restart")
  }

  /// The token that `run` makes at its start, for the command line.
  package var tokenPath: String { stateDirectory + "/token" }

  /// What was gathered and promised while the store was away.
  package var journalPath: String { stateDirectory + "/journal.db" }
}

extension Configuration.Listen: CustomStringConvertible {
  package var description: String {
    switch self {
    case .tcp(let host, let port): host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)"
    case .unix(let path): path
    }
  }

  /// Whether only this machine can reach it.
  package var isLoopback: Bool {
    switch self {
    case .unix: true
    case .tcp(let host, _):
      host == "localhost" || host == "::1"
        || (host.hasPrefix("127.") && host.split(separator: ".").count == 4
          && host.split(separator: ".").allSatisfy { UInt8($0) != nil })
    }
  }
}
