internal import FoundationEssentials
internal import CSSH2
internal import Glibc
package import Remote

/// The public half of an identity file, as it stands in authorized_keys. Nothing secret is read beyond what must be passed
/// over, and nothing of it is given out.
package struct PublicKeyLine: Sendable, Hashable {
  package let key: HostKey
  /// Printable ASCII; may be empty.
  package let comment: String
  /// Where it was found.
  package let source: String
  /// The file beside the private key holds the public half of another one.
  package let isForeign: Bool

  /// `TYPE BASE64 COMMENT`.
  package var text: String { "\(key.type) \(key.base64)" + (comment.isEmpty ? "" : " \(comment)") }

  /// Most bytes of either file.
  private static let limit = 64 << 10

  /// Takes it from `PATH.pub`, else from the part of an OpenSSH key file that is not secret, be it encrypted or not. Blocks.
  ///
  /// - Throws: `.noCredential` when neither can be read, with what a person can do.
  package static func of(identityFile path: String) throws(RemoteError) -> PublicKeyLine {
    let own = bytes(path).flatMap(publicBlob).flatMap(HostKey.init(blob:))
    if let text = bytes(path + ".pub"), let (key, comment) = parse(text) {
      return PublicKeyLine(key: key, comment: comment, source: path + ".pub", isForeign: own.map { $0 != key } ?? false)
    }
    if let own { return PublicKeyLine(key: own, comment: "", source: path, isForeign: false) }
    throw KeyStore.failure(
      "The public half of \(path) was not found: make \(path).pub with 'ssh-keygen -y -f \(path) > \(path).pub', or run "
        + "this as a user who may read them.")
  }

  /// The first line that holds a key. Options before it, as authorized_keys has them, are not expected in such a file.
  static func parse(_ text: [UInt8]) -> (HostKey, comment: String)? {
    for line in text.split(whereSeparator: { $0 == 10 || $0 == 13 }) {
      let words = line.split(separator: UInt8(ascii: " "), maxSplits: 2)
      guard words.count >= 2, let data = Data(base64Encoded: Data(words[1])), let key = HostKey(blob: Array(data)),
        key.isWellFormed, words[0].elementsEqual(key.type.utf8)
      else { continue }
      let comment = words.count > 2 ? words[2].filter { $0 >= 0x20 && $0 < 0x7F } : []
      return (key, String(decoding: comment, as: UTF8.self))
    }
    return nil
  }

  /// The first public key of an OpenSSH private key file (openssh-portable's PROTOCOL.key): it stands before the secret
  /// part and is never encrypted.
  static func publicBlob(_ text: [UInt8]) -> [UInt8]? {
    let lines = text.split(whereSeparator: { $0 == 10 || $0 == 13 })
    guard let begin = lines.firstIndex(where: { $0.elementsEqual("-----BEGIN OPENSSH PRIVATE KEY-----".utf8) }),
      let end = lines.firstIndex(where: { $0.elementsEqual("-----END OPENSSH PRIVATE KEY-----".utf8) }), begin < end,
      let data = Data(base64Encoded: Data(lines[(begin + 1)..<end].joined()))
    else { return nil }
    let magic = Array("openssh-key-v1\0".utf8)
    guard data.starts(with: magic) else { return nil }
    var reader = WireReader(Array(data.dropFirst(magic.count)))
    // Cipher, key derivation, its options.
    guard reader.string() != nil, reader.string() != nil, reader.string() != nil, reader.number() == 1,
      let blob = reader.string()
    else { return nil }
    return Array(blob)
  }

  private static func bytes(_ path: String) -> [UInt8]? {
    let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
    guard descriptor >= 0 else { return nil }
    defer { close(descriptor) }
    var status = stat()
    guard fstat(descriptor, &status) == 0, status.st_mode & S_IFMT == S_IFREG, status.st_size <= limit else {
      return nil
    }
    var bytes = [UInt8](repeating: 0, count: limit)
    let count = read(descriptor, &bytes, bytes.count)
    return count < 0 ? nil : Array(bytes.prefix(count))
  }
}
