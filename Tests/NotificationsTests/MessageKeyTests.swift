import Model
import Notifications
import Testing

@Suite struct MessageKeyTests {
  private func key(
    reaction: String = "disk-full", target: String = "web-1", metric: String = "Vitals.Disk", name: String? = nil,
    element: String? = "/var", episode: String = "e1", kind: MessageKind = .firing, option: String = "ops",
    recipient: String? = "ops@example.org"
  ) -> String {
    MessageIdentity(
      condition: ConditionKey(reaction: reaction, target: target, metric: metric, name: name, element: element),
      episode: episode, kind: kind
    ).key(option: option, recipient: recipient)
  }

  @Test("the key of a message never changes: it is SHA-256 over its length-prefixed fields")
  func pinned() {
    // printf '9:disk-full5:web-111:Vitals.Disk-4:/var2:e16:firing3:ops15:ops@example.org' | sha256sum
    #expect(key() == "d29ce0b3e4e621cccb1cae9c73063d9b0a0c5aa32beb7b27f5b51183117e845b")
  }

  @Test("every field counts, and fields do not run into each other")
  func distinct() {
    let keys = [
      key(), key(reaction: "disk"), key(target: "web-2"), key(metric: "Vitals.RAM"), key(name: ""), key(name: "-"),
      key(element: nil), key(element: ""), key(episode: "e2"), key(kind: .resolved), key(kind: .reminder(1)),
      key(kind: .reminder(2)), key(option: "pager"), key(recipient: nil), key(recipient: "b@example.org"),
      key(reaction: "disk-full5", target: "web-1"), key(reaction: "a", target: "bc"), key(reaction: "ab", target: "c"),
    ]
    #expect(Set(keys).count == keys.count)
  }
}
