package import Model

/// What a target is, as far as it told: the fields of `detected_specs`.
package struct HostFacts: Sendable, Hashable {
  /// `Debian GNU/Linux 12 (bookworm)`.
  package var os: String?
  /// The kernel's release, `6.1.0-28-amd64`.
  package var kernel: String?
  package var cpuCores: Int?
  /// Bytes.
  package var ram: Int64?
  package var swap: Int64?
  /// Bytes of the file system at `/`.
  package var disk: Int64?
  package var bootID: String?
  /// Bytes of a page of memory.
  package var pageSize: Int64?

  package init() {}

  /// The shape of `detected_specs`; what is not known is left out.
  package var value: Value {
    var fields: [String: Value] = [:]
    fields["os"] = os.map(Value.string)
    fields["kernel"] = kernel.map(Value.string)
    fields["cpu_cores"] = cpuCores.map { .int(Int64($0)) }
    fields["ram"] = ram.map(Value.int)
    fields["swap"] = swap.map(Value.int)
    fields["disk"] = disk.map(Value.int)
    fields["page_size"] = pageSize.map(Value.int)
    fields["boot_id"] = bootID.map(Value.string)
    return .object(fields)
  }

  /// Reads `detected_specs` back; what is of another type is left out.
  package init(_ value: Value?) {
    os = value?["os"]?.text
    kernel = value?["kernel"]?.text
    cpuCores = value?["cpu_cores"]?.integer.flatMap { Int(exactly: $0) }
    ram = value?["ram"]?.integer
    swap = value?["swap"]?.integer
    disk = value?["disk"]?.integer
    pageSize = value?["page_size"]?.integer
    bootID = value?["boot_id"]?.text
  }
}
