internal import Foundation

/// A way to a server of this machine on which every answer takes as long as a test wants.
///
/// What the client sends goes on at once; what the server sends is held back, in its order, so that each question and
/// answer takes that much longer. One hold counts for all connections from then on.
package final class SlowProxy: Sendable {
  /// Where clients connect to, on 127.0.0.1.
  package let port: UInt16
  private let process: ManagedProcess

  private init(process: ManagedProcess, port: UInt16) {
    self.process = process
    self.port = port
  }

  /// Starts one that holds nothing back, and returns when it listens.
  package static func start(to port: UInt16) async throws -> SlowProxy {
    let process = try ManagedProcess([PythonEnvironment.required(), "-u", "-c", script, "\(port)"])
    let ready = try await process.line(within: .seconds(30)) { $0.hasPrefix("listening ") }
    guard let own = UInt16(ready.dropFirst("listening ".count)) else {
      throw ManagedProcessError("the proxy said: \(ready)")
    }
    return SlowProxy(process: process, port: own)
  }

  /// Holds every answer back that comes after this returns.
  package func hold(_ duration: Duration) async throws {
    let position = process.lines.all.count
    let seconds = Double(duration.components.seconds) + Double(duration.components.attoseconds) / 1e18
    process.write(line: "\(seconds)")
    _ = try await process.lines.first(from: position) { $0.hasPrefix("holding ") }
  }

  package func stop() async { await process.stop() }

  private static let script = #"""
    import asyncio, os, sys

    upstream = int(sys.argv[1])
    hold = 0.0

    async def forth(reader, writer):
        try:
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        except OSError:
            pass
        finally:
            writer.close()

    async def deliver(held, writer):
        loop = asyncio.get_running_loop()
        try:
            while True:
                due, data = await held.get()
                if not data:
                    return
                if due > loop.time():
                    await asyncio.sleep(due - loop.time())
                writer.write(data)
                await writer.drain()
        except OSError:
            pass
        finally:
            writer.close()

    async def back(reader, writer):
        # Full, it lets the server wait.
        held = asyncio.Queue(256)
        loop = asyncio.get_running_loop()
        sender = asyncio.ensure_future(deliver(held, writer))
        async def put(data):
            # Where nobody takes anything any more there is nothing to wait for.
            waiting = asyncio.ensure_future(held.put((loop.time() + hold, data)))
            await asyncio.wait({waiting, sender}, return_when=asyncio.FIRST_COMPLETED)
            waiting.cancel()
            return not sender.done()
        try:
            while data := await reader.read(65536):
                if not await put(data):
                    break
        except OSError:
            pass
        await put(b"")
        await sender

    async def serve(reader, writer):
        try:
            above, below = await asyncio.open_connection("127.0.0.1", upstream)
        except OSError:
            writer.close()
            return
        await asyncio.gather(forth(reader, below), back(above, writer))

    def told():
        global hold
        text = os.read(0, 4096)
        if not text:
            # The owner's end closes our input.
            os._exit(0)
        for line in text.decode().split():
            hold = float(line)
            print("holding", hold)

    async def main():
        server = await asyncio.start_server(serve, "127.0.0.1", 0, backlog=128)
        asyncio.get_running_loop().add_reader(sys.stdin.fileno(), told)
        print("listening", server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(main())
    """#
}
