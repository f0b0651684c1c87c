internal import App
internal import ArgumentParser
internal import Foundation
internal import Model

struct Doctor: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Libraries and versions, ciphers, permissions, store, clock, reachability.")
  @OptionGroup var common: CommonOptions
  @OptionGroup var format: OutputOptions

  func run() async throws {
    let loaded = Configuration.load(path: common.config)
    let findings = await DoctorDesk.examine(loaded)
    if format.output == .json {
      Print.result(
        Value.array(
          findings.map {
            [
              "area": .string($0.area), "state": .string($0.state.rawValue), "found": .string($0.found),
              "remedy": $0.remedy.map(Value.string) ?? nil,
            ]
          }
        ).json(indent: 2))
    } else {
      let terminal = Terminal.output()
      for finding in findings {
        let colour: Terminal.Colour = finding.state == .good ? .green : finding.state == .warning ? .yellow : .red
        Print.result(
          "\(terminal.paint(finding.state.rawValue.padding(toLength: 8, withPad: " ", startingAt: 0), colour))"
            + " \(finding.area): \(Terminal.safe(finding.found))")
        if let remedy = finding.remedy { Print.result("         → \(Terminal.safe(remedy))") }
      }
    }
    if findings.contains(where: { $0.state == .bad }) { throw Ending(Exit.failed) }
    if findings.contains(where: { $0.state == .warning }) { throw Ending(Exit.lint) }
  }
}
