package import Remote

/// How long each phase may take and how much is kept; the defaults suit a network of any distance.
package struct SSHConfiguration: Sendable, Hashable {
  /// Name lookup. 5 s.
  package var resolve: Duration = .seconds(5)
  /// TCP connect over all addresses of the name; behind a jump host, from asking it to its answer. 10 s.
  package var connect: Duration = .seconds(10)
  /// Server's banner and key exchange together. 10 s.
  package var handshake: Duration = .seconds(10)
  /// All attempts to log in together. 15 s.
  package var authenticate: Duration = .seconds(15)
  /// From asking for a channel to the server's answer. A server that does not answer has ended for us. 10 s.
  package var channelOpen: Duration = .seconds(10)
  /// Longest wait in the queue for a free channel; then `tooManyChannels`. 60 s.
  package var queueWait: Duration = .seconds(60)
  /// How long the server may take to confirm a channel's close. 5 s.
  package var channelClose: Duration = .seconds(5)
  /// Without a byte received for this long a keep-alive is sent; without an answer for as long again, the peer is
  /// dead. 15 s. OpenSSH's own default is none.
  package var keepAlive: Duration = .seconds(15)
  /// TCP_USER_TIMEOUT: sent data unacknowledged for this long ends the connection. 20 s.
  package var userTimeout: Duration = .seconds(20)
  /// TCP keep-alive: idle time 15 s, interval 5 s, 3 probes.
  package var tcpKeepAliveIdle_s: Int32 = 15
  package var tcpKeepAliveInterval_s: Int32 = 5
  package var tcpKeepAliveCount: Int32 = 3
  /// SO_SNDBUF in bytes; `nil` leaves the kernel's choice. For tests.
  package var sendBuffer: Int32?
  /// Resident readers that may be started on the host, the best first; none: a script reads the files each time.
  package var readers: [ResidentReader.Kind] = [.perl, .awk, .bash, .sh]
  /// From starting the resident reader to its greeting; then a script reads. 10 s.
  package var readerStart: Duration = .seconds(10)
  /// How long the resident reader may take for an answer; then it is ended and a script reads. 8 s.
  package var readerPatience: Duration = .seconds(8)
  /// How long a script may read; with the reader's patience no longer than ``RemoteLimits/deadline``. 20 s.
  package var scriptDeadline: Duration = .seconds(20)
  /// Most credentials tried in one connection: each wrong one counts against us at the server. 3.
  package var authenticationAttempts = 3
  /// Calls that may wait for a free channel; further ones get `tooManyChannels` at once. 256.
  package var waiters = 256
  /// Receive window of a channel in bytes: what a server may send before it is read, also after a close. 512 KiB.
  package var window: UInt32 = 512 << 10
  /// Connections that may travel in one connection to a jump host; further ones get `tooManyChannels`. 4,096.
  package var tunnels = 4096
  /// Receive window of a connection that travels in another, in bytes. 256 KiB.
  package var tunnelWindow: UInt32 = 256 << 10
  /// How long a connection to a jump host outlives the last one that travelled in it: longer than
  /// the longest pause between attempts, so that retries need no login. 90 s.
  package var linger: Duration = .seconds(90)
  /// Exceptions for old servers: algorithm names put behind the modern ones, by kind. Empty unless a target says so.
  package var additionalAlgorithms: [AlgorithmKind: [String]] = [:]

  package init() {}

  /// What the two sides of a connection agree on.
  package enum AlgorithmKind: String, Sendable, Hashable, CaseIterable {
    case key_exchange, host_key, cipher, mac
  }
}
