import Foundation
import Notifications
import TestKit
import Testing
import Transfer

@Suite struct SecretReaderTests {
  private let directory: TemporaryDirectory

  init() throws { directory = try TemporaryDirectory("secret") }

  /// The secret itself is not readable here; a read that succeeds gives one.
  private func message(_ source: SecretSource, deadline: Duration = .seconds(10)) async -> String? {
    var reader = SecretReader()
    reader.deadline = deadline
    do throws(SecretError) {
      _ = try await reader.read(source)
      return nil
    } catch {
      return error.message.replacingOccurrences(of: directory.path, with: "DIR")
    }
  }

  @Test("a file that only its owner can read is taken, others are refused with what to do")
  func files() async throws {
    #expect(await message(.file(try directory.write("good", "geheim\n"))) == nil)
    let open = try directory.write("open", "geheim", permissions: 0o640)
    #expect(
      await message(.file(open))
        == "the secret file DIR/open can be read by others (mode 640); make it 0600: chmod 600 it")
    #expect(await message(.file(try directory.write("empty", "\n"))) == "the secret file DIR/empty is empty")
    #expect(await message(.file(directory.file("none"))) == "the secret file DIR/none: No such file or directory")
    #expect(await message(.file(directory.path)) == "the secret file DIR is no regular file")
    let long = try directory.write("long", String(repeating: "x", count: 20_000))
    #expect(await message(.file(long)) == "the secret file DIR/long is longer than 16 KiB")
  }

  @Test("a program's output is taken; one that fails, hangs or talks too much is not")
  func commands() async {
    #expect(await message(.command(["/bin/echo", "geheim"])) == nil)
    #expect(await message(.command(["sh", "-c", "echo geheim; exit 3"])) == "the output of sh: the program failed")
    #expect(await message(.command(["/nowhere/pass"])) == "the output of /nowhere/pass: No such file or directory")
    #expect(
      await message(.command(["sh", "-c", "echo geheim; sleep 600"]), deadline: .milliseconds(200))
        == "the output of sh did not come in time")
    #expect(
      await message(.command(["sh", "-c", "yes | head -c 100000"])) == "the output of sh is longer than 16 KiB")
    #expect(await message(.command([])) == "password_command is no list of words")
  }
}
