import Foundation
import Remote
import TestKit
import Testing

@testable import SSH

@Suite("Parts of the SSH room")
struct PartsTests {
  @Test("Timers come out in the order of their times, whatever was cancelled in between")
  func timers() {
    var queue = TimerQueue()
    var fired: [UInt64] = []
    var random = SystemRandomNumberGenerator()
    var expected: [UInt64] = []
    var doomed: [TimerQueue.ID] = []
    for _ in 0..<2000 {
      let time = UInt64.random(in: 0...1000, using: &random)
      let isDoomed = Bool.random(using: &random)
      let id = queue.add(at: time) { fired.append(time) }
      if isDoomed { doomed.append(id) } else { expected.append(time) }
    }
    for id in doomed { queue.cancel(id) }
    #expect(queue.count == expected.count)
    while let body = queue.popDue(at: 500) { body() }
    #expect(fired == expected.filter { $0 <= 500 }.sorted())
    while let body = queue.popDue(at: .max) { body() }
    #expect(fired == expected.sorted())
    #expect(queue.wait(at: 0) == -1)
  }

  @Test("The wait for the next timer is rounded up and never negative")
  func timerWait() {
    var queue = TimerQueue()
    _ = queue.add(at: 5_000_001) {}
    #expect(queue.wait(at: 0) == 6)
    #expect(queue.wait(at: 5_000_000) == 1)
    #expect(queue.wait(at: 9_000_000) == 0)
  }

  @Test("Durations of any size become nanoseconds without a trap")
  func durations() {
    #expect(Duration.milliseconds(1500).nanoseconds == 1_500_000_000)
    #expect(Duration.seconds(-3).nanoseconds == 0)
    #expect(Duration.seconds(Int64.max).nanoseconds == UInt64.max / 2)
  }

  @Test("A host whose shell prints other things than asked gives failed answers, not wrong ones")
  func hostileOutput() throws {
    let script = try #require(ReadScript.batches([("/a", 10), ("/b", 10)]).first)
    let mark = "\n\(script.boundary) "
    func answers(_ text: String, truncated: Bool = false) -> [Answer] {
      script.answers(.success(CommandResult(status: 0, output: Array(text.utf8), isTruncated: truncated)))
    }
    #expect(
      answers("x\(mark)0\n\(mark)0\n") == [.content([120], isTruncated: false), .content([], isTruncated: false)])
    #expect(
      answers("\n\nx\n\(mark)0\n0123456789+\(mark)0\n") == [
        .content(Array("\n\nx\n".utf8), isTruncated: false), .content(Array("0123456789".utf8), isTruncated: true),
      ])
    for text in ["", "This account is disabled.\n", mark, mark + "0", "x\n\(script.boundary)", "\(mark)\n\(mark)"] {
      for answer in answers(text) {
        guard case .failed(let error) = answer else { return #expect(Bool(false), "\(text) gave \(answer)") }
        #expect(error.phase == .command)
      }
    }
    guard case .failed(let late) = answers("x\(mark)0\n", truncated: true)[1] else {
      return #expect(Bool(false), "an unread file has an answer")
    }
    #expect(late.code == .timedOut)
  }

  @Test("Sixty-four long paths become several commands, each short enough for a login shell")
  func batches() {
    let paths = (0..<64).map { "/" + String(repeating: "'", count: 4000) + "\($0)" }
    let scripts = ReadScript.batches(paths.map { ($0, 100) })
    #expect(scripts.flatMap { $0.files.map(\.path) } == paths)
    #expect(scripts.allSatisfy { $0.line.count <= ShellQuoting.lineLimit })
  }

  @Test("A damaged private key is no key, and never a crash")
  func damagedKeys() async throws {
    let directory = try TemporaryDirectory()
    for kind in ["ed25519", "ecdsa"] {
      let path = directory.file(kind)
      _ = try await ManagedProcess.run(["ssh-keygen", "-q", "-t", kind, "-N", "", "-f", path])
      let good = Array(try Data(contentsOf: URL(fileURLWithPath: path)))
      #expect(SigningKey(openSSH: good) != nil)
      for length in stride(from: 0, to: good.count - 40, by: 7) {
        #expect(SigningKey(openSSH: Array(good.prefix(length))) == nil)
      }
      // Any byte inside may be another: what comes out is a key or none.
      for position in stride(from: 36, to: good.count - 36, by: 3) {
        var bad = good
        bad[position] = bad[position] == 65 ? 66 : 65
        _ = SigningKey(openSSH: bad)
      }
    }
  }

  @Test("Only modern algorithms are asked for, and an exception comes last")
  func algorithms() {
    for kind in SSHConfiguration.AlgorithmKind.allCases {
      let names = Algorithms.list(kind).split(separator: ",").map(String.init)
      #expect(!names.isEmpty)
      for name in names {
        #expect(!name.contains("sha1") && !name.contains("cbc") && !name.contains("md5"))
        #expect(name != "ssh-rsa" && name != "ssh-dss")
      }
    }
    #expect(Algorithms.list(.cipher, additional: ["aes256-cbc"]).hasSuffix(",aes256-cbc"))
    #expect(
      Algorithms.list(.host_key, first: ["ecdsa-sha2-nistp256", "ssh-dss"]).hasPrefix("ecdsa-sha2-nistp256,ssh-ed25519")
    )
  }
}
