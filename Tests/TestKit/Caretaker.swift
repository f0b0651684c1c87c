internal import Foundation

/// Ends a test's database servers and removes their folder once their owner is gone, however it went: also after
/// kill -9, when nothing of this process runs any more, and where its whole process group was ended.
///
/// A shell in a session of its own waits for the end of its input, which the kernel closes with the owner.
package final class Caretaker: Sendable {
  private let process: ManagedProcess

  /// - Parameter folder: an absolute path. Whatever process has a `--dbpath` below it is ended.
  package init(folder: String) throws {
    // The first shell ends at once; only its child, which takes over the input, stays.
    process = try ManagedProcess([
      "sh", "-c", #"exec 3<&0; setsid sh -c "$0" caretaker "$1" <&3 3<&- >/dev/null 2>&1 &"#, Self.script, folder,
    ])
    // Until then the end of this object would end the shell before there is a child to stay.
    _ = process.waitUntilExit(within: 10)
  }

  /// Ten seconds at most; the folder goes in any case.
  private static let script = #"""
    trap "" HUP INT TERM
    cat
    rounds=0
    while [ $rounds -lt 100 ]; do
      found=
      for entry in /proc/[0-9]*; do
        case "$(tr "\0" " " <"$entry/cmdline")" in
        *" --dbpath $1/"*)
          found=yes
          kill -9 "${entry#/proc/}"
          ;;
        esac
      done
      [ "$found" ] || break
      rounds=$((rounds + 1))
      sleep 0.1
    done
    rm -rf -- "$1"
    """#
}
