internal import ArgumentParser

/// Measures what our own rooms cost. Figures of one run compare with each other; between runs a machine drifts.
@main
struct Benchmark: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "benchmark", abstract: "Measures what the rooms cost.",
    subcommands: [SSHBenchmark.self, StoreBenchmark.self, PeerBenchmark.self], defaultSubcommand: PeerBenchmark.self)
}
