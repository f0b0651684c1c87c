internal import Foundation
internal import Glibc

/// CPU seconds and memory of this process.
struct Usage {
  var cpu: Double
  var switches: Int

  static func now() -> Usage {
    var usage = rusage()
    getrusage(0, &usage)  // RUSAGE_SELF, which Swift imports with another type
    return Usage(
      cpu: seconds(usage.ru_utime) + seconds(usage.ru_stime), switches: usage.ru_nvcsw + usage.ru_nivcsw)
  }

  private static func seconds(_ time: timeval) -> Double { Double(time.tv_sec) + Double(time.tv_usec) / 1e6 }

  /// Proportional set size in KiB; 0 where the kernel does not tell.
  static func memory() -> Int {
    let text = (try? String(contentsOfFile: "/proc/self/smaps_rollup", encoding: .utf8)) ?? ""
    for line in text.split(separator: "\n") where line.hasPrefix("Pss:") {
      return line.split(separator: " ").compactMap { Int($0) }.first ?? 0
    }
    return 0
  }
}
