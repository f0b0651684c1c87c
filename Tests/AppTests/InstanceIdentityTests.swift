@testable import App
import Foundation
import TestKit
import Testing

@Suite("In whose name an instance holds leases")
struct InstanceIdentityTests {
  @Test("the next process of a folder succeeds the one before; a copy of the folder succeeds nobody")
  func copies() throws {
    let folder = try TemporaryDirectory("identity")
    let (state, copy) = (folder.file("state"), folder.file("copy"))
    try FileManager.default.createDirectory(atPath: state, withIntermediateDirectories: true)
    let former = try InstanceIdentity(stateDirectory: state, machine: "mon-1")
    let next = try InstanceIdentity(stateDirectory: state, machine: "mon-1")
    #expect(next.hasSucceeded(former.owner) && next.hasSucceeded(former.owner + "/worker"))
    #expect(!next.hasSucceeded(next.owner) && next.isOurs(next.owner + "/worker"))

    // The machine was cloned with its name and everything on it.
    try FileManager.default.copyItem(atPath: state, toPath: copy)
    let clone = try InstanceIdentity(stateDirectory: copy, machine: "mon-1")
    #expect(!clone.hasSucceeded(former.owner) && !clone.hasSucceeded(next.owner))
    #expect(!next.hasSucceeded(clone.owner))
    #expect(try InstanceIdentity(stateDirectory: copy, machine: "mon-1").hasSucceeded(clone.owner))
    #expect(try InstanceIdentity(stateDirectory: state, machine: "mon-1").hasSucceeded(next.owner))
  }

  @Test("a folder whose machine has another name, or was started anew, has a home of its own; so has an older file")
  func places() throws {
    let folder = try TemporaryDirectory("identity")
    let first = try InstanceIdentity(stateDirectory: folder.path, machine: "mon-1")
    #expect(try !InstanceIdentity(stateDirectory: folder.path, machine: "mon-2").hasSucceeded(first.owner))
    let path = folder.file("instance")
    for text in ["mon-1/0a1b2c3d\n", "mon-1/0a1b2c3d\nanother-boot 1 2\n", "mon-1/812/3f9c0d1e\n", "\n"] {
      try Data(text.utf8).write(to: URL(fileURLWithPath: path))
      let identity = try InstanceIdentity(stateDirectory: folder.path, machine: "mon-1")
      #expect(!identity.hasSucceeded("mon-1/0a1b2c3d/7-ffffffff"), "\(text)")
      #expect(try InstanceIdentity(stateDirectory: folder.path, machine: "mon-1").hasSucceeded(identity.owner))
    }
  }
}
