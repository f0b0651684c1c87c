package import Model
package import Remote

extension Vitals {
  /// How full the file systems are: a list of
  /// `{mount device fstype size used available percent inodes inodes_used inodes_percent}`, sizes in bytes.
  ///
  /// One entry for each device, at the mount that df prints; of several the shortest. `/` always; not proc, sysfs,
  /// devtmpfs, cgroup, squashfs, nor tmpfs under /run, /dev and /sys. percent = used / (used + available), as df. A file
  /// system without a fixed number of inodes has no inode fields.
  ///
  /// df hangs in the kernel when the server of a network file system is dead. It has a deadline of its own; then only
  /// local file systems are asked for, and all again after 2, 4, 8, 16 ticks, so that dead df processes do not pile up
  /// on the host. What df complains of is an error sample, once for each new complaint, beside the values.
  package struct Disk: Metric {
    package static let name = "Vitals.Disk"
    package static let options: Set<String> = []
    package static let deadline: Duration = .seconds(10)

    /// Most ticks between two attempts at file systems that hang.
    private static let longestPause = 16

    private static let mounts: Question = .read(path: "/proc/mounts")
    private static let all: Question = run("-Pk", "-Pi")
    private static let local: Question = run("-Pkl", "-Pil")

    /// One program run for both tables. The marks cannot be taken for lines of df, which end in a path.
    private static func run(_ blocks: String, _ inodes: String) -> Question {
      .run(
        Command(
          ["sh", "-c", "df \(blocks); echo \"=blocks $?\"; df \(inodes); echo \"=inodes $?\""], deadline: deadline))
    }

    /// How often in a row asking for all file systems hung.
    private var hangs = 0
    /// Ticks to go until all are asked for again.
    private var pause = 0
    private var complaint: String?

    package init(plan: MetricPlan) throws(MetricRefused) {}

    package var needs: [Question] { [Self.mounts, Self.all, Self.local] }

    package mutating func questions(_ host: HostFacts?) -> [Question] {
      [Self.mounts, pause > 0 ? Self.local : Self.all]
    }

    package mutating func gathered(from answers: [Answer], at moment: Moment) -> [Gathered] {
      guard answers.count == 2 else { return [.error("df: no answer came")] }
      // Without it the types are unknown and more is shown; not worth losing the figures for.
      let mounts = (try? answers[0].bytes(of: "/proc/mounts")).map(MountTable.parse) ?? MountTable()
      let askedForAll = pause == 0
      do {
        let result = try Self.result(answers[1])
        let report = try DiskReport(result, mounts: mounts)
        var said = report.complaint
        if askedForAll {
          hangs = 0
        } else {
          pause -= 1
          said =
            "df hung \(hangs) times in a row, perhaps on a dead network file system; meanwhile only local file systems"
            + " are gathered"
        }
        defer { complaint = said }
        let news: [Gathered] = said.flatMap { $0 == complaint ? nil : [.error($0)] } ?? []
        return news + [.value(.array(report.entries.map(\.value)))]
      } catch {
        if !askedForAll {
          pause -= 1
        } else if Self.isLate(answers[1]) {
          hangs += 1
          pause = min(Self.longestPause, 1 << min(hangs, 8))
        }
        return [.error(error.message)]
      }
    }

    private static func isLate(_ answer: Answer) -> Bool {
      if case .failed(let error) = answer { error.code == .timedOut } else { false }
    }

    private static func result(_ answer: Answer) throws(Unreadable) -> CommandResult {
      switch answer {
      case .result(let result): return result
      case .content: throw Unreadable("df: a file's content came instead of its result")
      case .failed(let error):
        if error.code == .timedOut {
          throw Unreadable(
            "df did not answer within \(deadline.components.seconds) s, perhaps because of a dead network file system")
        }
        throw Unreadable("df could not be run: \(error)")
      }
    }
  }
}
