internal import Glibc

/// Who this process is, for people and for leases.
enum ProcessName {
  static let pid = Int(getpid())

  /// This machine's name; `localhost` when it has none.
  static let host: String = {
    var buffer = [CChar](repeating: 0, count: 256)
    guard gethostname(&buffer, buffer.count - 1) == 0 else { return "localhost" }
    let bytes = buffer.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }
    let name = String(decoding: bytes, as: UTF8.self)
    return name.isEmpty ? "localhost" : name
  }()
}
