package import Remote
package import Threads

extension TrustStore {
  /// A ``Scan`` that opens a connection as far as the host key and not further.
  ///
  /// - Parameters:
  ///   - knownHosts: decide which type of key is asked for, so that what is shown can be compared with what is known.
  ///   - connector: makes a connector for a host and port with exactly this policy. The policy trusts nothing, so no
  ///     credential that the connector has is ever offered.
  package static func scan(
    knownHosts: [String], pool: BlockingPool? = nil,
    through connector: @escaping @Sendable (_ policy: HostKeyPolicy, _ host: String, _ port: Int) -> any Connector
  ) -> Scan {
    { (host, port) throws(RemoteError) in
      let met = Locked<HostKey?>(nil)
      let policy = HostKeyPolicy.looking(knownHosts: knownHosts, pool: pool) { key in met.withLock { $0 = key } }
      do throws(RemoteError) {
        // The policy refuses every key: what would come back here is a transport without host keys.
        await (try connector(policy, host, port).connect()).close()
      } catch {
        guard let key = met.withLock({ $0 }) else { throw error }
        return key
      }
      throw RemoteError(.protocolError, phase: .host_key, "\(host) was met without a host key.")
    }
  }
}
