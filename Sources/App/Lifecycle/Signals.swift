internal import UnixSignals

/// SIGTERM and SIGINT stop, SIGHUP reloads.
package enum Signals {
  /// What comes from now on; the newest 8 wait. Ends when the reader does.
  package static func stream() async -> AsyncStream<ServiceSignal> {
    let signals = await UnixSignalsSequence(trapping: .sigterm, .sigint, .sighup)
    let (stream, continuation) = AsyncStream.makeStream(of: ServiceSignal.self, bufferingPolicy: .bufferingNewest(8))
    let reader = Task {
      for await signal in signals { continuation.yield(signal == .sighup ? .reload : .stop) }
      continuation.finish()
    }
    continuation.onTermination = { _ in reader.cancel() }
    return stream
  }
}
