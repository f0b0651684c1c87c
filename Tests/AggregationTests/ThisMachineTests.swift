internal import Foundation
internal import Model
internal import Remote
internal import Testing

@testable internal import Aggregation

/// This machine without a network between: files and programs as they are.
private struct ThisMachine: Sendable {
  func answer(_ question: Question) async -> Answer {
    await withCheckedContinuation { continuation in
      // Reading and waiting block, so they have a thread that is not the cooperative pool's.
      DispatchQueue.global().async { continuation.resume(returning: Self.look(question)) }
    }
  }

  private static func look(_ question: Question) -> Answer {
    do {
      switch question {
      case .read(let path, let limit):
        let file = try FileHandle(forReadingFrom: URL(fileURLWithPath: path))
        defer { try? file.close() }
        let bytes = Array(try file.readToEnd() ?? Data())
        return .content(Array(bytes.prefix(limit)), isTruncated: bytes.count > limit)
      case .run(let command):
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        process.arguments = command.environment.map { "\($0)=\($1)" } + command.arguments
        let output = Pipe()
        process.standardOutput = output
        process.standardError = FileHandle.nullDevice
        try process.run()
        let bytes = Array(try output.fileHandleForReading.readToEnd() ?? Data())
        process.waitUntilExit()
        return .result(CommandResult(status: process.terminationStatus, output: bytes))
      }
    } catch {
      return .failed(RemoteError(.protocolError, phase: .command, "\(error)"))
    }
  }
}

@Suite("The machine that the tests run on")
struct ThisMachineTests {
  private func gather(_ metric: inout any Metric) async -> [Gathered] {
    var answers: [Answer] = []
    for question in metric.questions(nil) { answers.append(await ThisMachine().answer(question)) }
    return metric.gathered(from: answers, at: Moment(at: Date()))
  }

  @Test("Every metric has a value with all the fields of the contract, by /proc and df as they are here")
  func everything() async throws {
    let plan = MetricPlan(metric: "x", interval: .seconds(10))
    let wanted: [(any Metric, String)] = [
      (try Vitals.CPU(plan: plan), "percent user nice system idle iowait irq softirq steal load1 load5 load15 cores"),
      (try Vitals.RAM(plan: plan), "total used free available buffers cached slab percent"),
      (try Vitals.Swap(plan: plan), "total used free percent in_per_second out_per_second"),
      (Host(bootID: nil), "boot_id uptime_seconds clock_skew_ms"),
    ]
    for (kind, fields) in wanted {
      var metric = kind
      var value: Value?
      // Processors and swap need two readings with some ticks between.
      for _ in 0..<200 {
        guard
          case .value(let found)? = await gather(&metric).first(where: { if case .value = $0 { true } else { false } })
        else { continue }
        value = found
        if Set(found.fields?.keys.map { $0 } ?? []).count == fields.split(separator: " ").count { break }
      }
      #expect(Set(value?.fields?.keys.map { $0 } ?? []) == Set(fields.split(separator: " ").map(String.init)))
    }
  }

  @Test("The root file system is as the kernel says, and the clock is our own")
  func root() async throws {
    var disk: any Metric = try DiskTests.disk()
    let gathered = await gather(&disk)
    guard case .value(.array(let list))? = gathered.last else { throw Unreadable("\(gathered)") }
    let root = try #require(list.first { $0["mount"] == "/" })
    let kernel = try FileManager.default.attributesOfFileSystem(forPath: "/")
    let size = try #require((kernel[.systemSize] as? NSNumber)?.int64Value)
    let nodes = try #require((kernel[.systemNodes] as? NSNumber)?.int64Value)
    #expect(root["size"] == .int(size))
    #expect(nodes == 0 || root["inodes"] == .int(nodes))
    #expect(root["fstype"]?.text?.isEmpty == false)

    var host: any Metric = Host(bootID: nil)
    let facts = await gather(&host)
    guard case .value(let value)? = facts.first else { throw Unreadable("\(facts)") }
    #expect(value["clock_skew_ms"]?.integer.map { abs($0) <= 1000 } == true)
  }
}
