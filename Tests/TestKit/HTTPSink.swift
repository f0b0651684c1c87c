internal import Foundation

/// A real HTTP/1.1 server on a free port of 127.0.0.1, in a process of its own, that records what it is asked and
/// answers from a script.
package final class HTTPSink: Sendable {
  /// What to answer. The last reply of the script is given again and again.
  package struct Reply: Sendable, Codable {
    package var status = 200
    /// Names and values, in order.
    package var headers: [[String]] = []
    package var body = ""
    /// The body is `body` again and again until so many bytes are sent.
    package var repeatedTo: Int?
    /// A pause after each byte of head and body, in seconds: the slow-loris of servers.
    package var byteDelay: Double?
    /// Nothing is answered.
    package var hangs = false
    /// The connection is closed without an answer.
    package var closes = false

    package init(_ status: Int = 200, headers: [[String]] = [], body: String = "") {
      self.status = status
      self.headers = headers
      self.body = body
    }
  }

  /// A request as it came.
  package struct Request: Sendable, Codable, Equatable {
    package var method: String
    package var path: String
    /// Names in lower case.
    package var headers: [[String]]
    package var body: String

    package func header(_ name: String) -> String? {
      headers.first { $0.first == name.lowercased() }?.last
    }
  }

  private struct Configuration: Codable {
    var certificate: String?
    var key: String?
    var replies: [Reply]
  }

  private struct Record: Codable {
    var event: String
    var port: UInt16?
    var request: Request?
  }

  package let port: UInt16
  private let process: ManagedProcess

  private init(process: ManagedProcess, port: UInt16) {
    self.process = process
    self.port = port
  }

  /// Starts a server and returns when it listens. With a certificate it speaks HTTPS.
  package static func start(
    replies: [Reply] = [Reply()], certificates: Certificates.Pair? = nil
  ) async throws -> HTTPSink {
    let process = try ManagedProcess([PythonEnvironment.required(), "-u", "-c", script])
    process.write(
      line: try encode(
        Configuration(certificate: certificates?.certificate, key: certificates?.key, replies: replies)))
    let ready = try await process.line(within: .seconds(30)) { $0.hasPrefix("{\"event\": \"ready\"") }
    guard let port = record(ready)?.port else { throw ManagedProcessError("no port in \(ready)") }
    return HTTPSink(process: process, port: port)
  }

  /// Replaces what is left of the script.
  package func reply(_ replies: Reply...) async throws {
    let position = process.lines.all.count
    process.write(line: try Self.encode(Configuration(replies: replies)))
    _ = try await process.lines.first(from: position) { $0.hasPrefix("{\"event\": \"configured\"") }
  }

  package func stop() async {
    await process.stop()
  }

  /// All requests so far.
  package func requests() -> [Request] {
    process.lines.all.compactMap { Self.record($0)?.request }
  }

  /// Waits for a request, whether it came already or not.
  @discardableResult
  package func request(
    within deadline: Duration = .seconds(10), where matches: @escaping @Sendable (Request) -> Bool = { _ in true }
  ) async throws -> Request {
    let found = try await process.lines.first(within: deadline) { Self.record($0)?.request.map(matches) ?? false }
    guard let request = Self.record(found.element)?.request else { throw EventLogError.finished }
    return request
  }

  private static func encode(_ configuration: Configuration) throws -> String {
    String(decoding: try JSONEncoder().encode(configuration), as: UTF8.self)
  }

  private static func record(_ line: String) -> Record? {
    guard line.hasPrefix("{") else { return nil }
    return try? JSONDecoder().decode(Record.self, from: Data(line.utf8))
  }

  private static let script = #"""
    import json, os, ssl, sys, threading, time
    from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

    config = json.loads(sys.stdin.readline())
    lock = threading.Lock()

    def say(event, **facts):
        with lock:
            os.write(1, (json.dumps({"event": event, **facts}) + "\n").encode())

    def next_reply():
        with lock:
            replies = config["replies"]
            return replies.pop(0) if len(replies) > 1 else replies[0]

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self):
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            reply = next_reply()
            say("request", request={"method": self.command, "path": self.path,
                                    "headers": [[name.lower(), value] for name, value in self.headers.items()],
                                    "body": body.decode("utf-8", "replace")})
            self.close_connection = True
            if reply.get("hangs"):
                threading.Event().wait()
            if reply.get("closes"):
                return
            content = reply["body"].encode()
            length = reply.get("repeatedTo") or len(content)
            head = "HTTP/1.1 %d Scripted\r\n" % reply["status"]
            head += "".join("%s: %s\r\n" % (name, value) for name, value in reply["headers"])
            head += "Content-Length: %d\r\n\r\n" % length
            try:
                if reply.get("byteDelay"):
                    for byte in head.encode() + content:
                        self.wfile.write(bytes([byte]))
                        time.sleep(reply["byteDelay"])
                    return
                self.wfile.write(head.encode())
                if reply.get("repeatedTo"):
                    block = (content * (65536 // max(1, len(content)) + 1))[:65536]
                    while length > 0:
                        self.wfile.write(block[:length])
                        length -= len(block)
                else:
                    self.wfile.write(content)
            except OSError:
                pass

        do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = answer

        def log_message(self, *arguments):
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 512

        def handle_error(self, request, address):
            pass

    server = Server(("127.0.0.1", 0), Handler)
    if config.get("certificate"):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(config["certificate"], config["key"])
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)

    def listen_to_owner():
        for line in sys.stdin:
            with lock:
                config["replies"] = json.loads(line)["replies"]
            say("configured")
        os._exit(0)

    threading.Thread(target=listen_to_owner, daemon=True).start()
    say("ready", port=server.server_port)
    server.serve_forever()
    """#
}
