/// A certificate authority and server certificates of its own for one test, as PEM files in a temporary directory.
///
/// All server certificates but `wrongHost` are for localhost, 127.0.0.1 and ::1. Valid for one day.
package struct Certificates: Sendable {
  /// A certificate with its key.
  package struct Pair: Sendable {
    package var certificate: String
    package var key: String
  }

  /// The authority's certificate: what a client must trust.
  package var authority: String
  /// An authority that signed nothing here.
  package var otherAuthority: String
  package var server: Pair
  /// Signed by the authority, ended yesterday.
  package var expired: Pair
  /// Signed by the authority, for mail.invalid only.
  package var wrongHost: Pair
  /// Signed by itself.
  package var selfSigned: Pair

  private let directory: TemporaryDirectory

  /// Makes all of them. Needs `PythonEnvironment`.
  package static func make() async throws -> Certificates {
    let directory = try TemporaryDirectory("certificates")
    _ = try await ManagedProcess.run([PythonEnvironment.required(), "-c", script, directory.path])
    func pair(_ name: String) -> Pair {
      Pair(certificate: directory.file(name + ".pem"), key: directory.file(name + ".key"))
    }
    return Certificates(
      authority: directory.file("authority.pem"), otherAuthority: directory.file("other.pem"),
      server: pair("server"), expired: pair("expired"), wrongHost: pair("wrong"), selfSigned: pair("self"),
      directory: directory)
  }

  private static let script = """
    import datetime, ipaddress, sys
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    folder = sys.argv[1]
    now = datetime.datetime.now(datetime.timezone.utc)
    day = datetime.timedelta(days=1)
    local = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1")),
             x509.IPAddress(ipaddress.ip_address("::1"))]

    def make(name, common, issuer=None, names=None, start=now - day, end=now + day):
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, common)])
        builder = (x509.CertificateBuilder().subject_name(subject).public_key(key.public_key())
                   .issuer_name(issuer[0] if issuer else subject).serial_number(x509.random_serial_number())
                   .not_valid_before(start).not_valid_after(end)
                   .add_extension(x509.BasicConstraints(ca=names is None, path_length=None), critical=True))
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        certificate = builder.sign(issuer[1] if issuer else key, hashes.SHA256())
        with open(f"{folder}/{name}.pem", "wb") as file:
            file.write(certificate.public_bytes(serialization.Encoding.PEM))
        with open(f"{folder}/{name}.key", "wb") as file:
            file.write(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                                         serialization.NoEncryption()))
        return subject, key

    authority = make("authority", "Test authority")
    make("other", "Another authority")
    make("server", "localhost", authority, local)
    make("expired", "localhost", authority, local, now - 3 * day, now - day)
    make("wrong", "mail.invalid", authority, [x509.DNSName("mail.invalid")])
    make("self", "localhost", None, local)
    """
}
