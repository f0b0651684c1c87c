internal import Foundation
internal import Model
internal import TestKit
internal import Testing

@testable internal import Gateway

@Suite(.timeLimit(.minutes(3))) struct PageTests {
  @Test("The page brings everything with it: nothing inline, nothing foreign, nothing that makes markup of text")
  func files() throws {
    let assets = Dictionary(uniqueKeysWithValues: Page.assets.map { ($0.path, $0) })
    #expect(Set(assets.keys) == ["/", "/assets/page.css", "/assets/page.js"])
    let html = try #require(assets["/"]).content
    #expect(html.firstMatch(of: /<script(?![^>]*\ssrc="\/assets\/)/) == nil)
    #expect(html.firstMatch(of: /<style|\sstyle=|\son[a-z]+=/) == nil)
    let script = try #require(assets["/assets/page.js"]).content
    for word in ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "Function(", ".style"] {
      #expect(!script.contains(word), "\(word)")
    }
    for asset in assets.values {
      let addresses = asset.content.matches(of: /https?:\/\/[^\s"']+/).map { String($0.output) }
      #expect(addresses.allSatisfy { $0 == "http://www.w3.org/2000/svg" }, "\(asset.path): \(addresses)")
      #expect(asset.content.utf8.allSatisfy { $0 != 13 && $0 != 9 }, "\(asset.path)")
    }
    #expect(assets.values.reduce(0) { $0 + $1.content.utf8.count } < 32 << 10)
    // What the script looks for exists.
    for match in script.matches(of: /byId\("([a-z]+)"\)/) { #expect(html.contains("id=\"\(match.1)\""), "\(match.1)") }
  }

  private static let act = "document.documentElement.dataset.struck=1"

  /// Ways to get a script run from text, and characters that deceive the eye.
  static let payloads = [
    "<script>\(act)</script>", "</script><script>\(act)</script>", "<img src=x onerror=\"\(act)\">",
    "\"><svg onload=\(act)>", "'><svg/onload='\(act)'>", "<iframe srcdoc=\"<script>parent.\(act)</script>\">",
    "<a href=\"javascript:\(act)\" autofocus onfocus=\(act)>x</a>", "javascript:\(act)",
    "</td></tr></table><img src=x onerror=\(act)>",
    "<details open ontoggle=\(act)>", "<body onload=\(act)>", "<math><mtext></mtext><script>\(act)</script></math>",
    "<style>@import 'javascript:\(act)'</style>", "<link rel=stylesheet href=javascript:\(act)>",
    "{{constructor.constructor('\(act)')()}}",
    "${\(act)}", "`-\(act)-`", "\" onmouseover=\"\(act)\" x=\"", "' onfocus='\(act)' autofocus='",
    "--><script>\(act)</script>",
    "]]><script>\(act)</script>", "<meta http-equiv=refresh content=\"0;javascript:\(act)\">",
    "<base href=//evil.example/>",
    "\u{202E}gnp.exe\u{7}\u{1B}[31m", "__proto__",
  ]

  /// Four rows a payload, the payload each time at other places.
  private static var rows: [Value] {
    payloads.enumerated().flatMap { index, text -> [Value] in
      let hostile = Value.string(text)
      let episode: Value = [
        "_id": hostile, "metric": hostile, "name": hostile, "element": hostile, "severity": "warning",
        "target": .string("r\(index)-d"), "since": "2026-01-01T00:00:00Z", "value": hostile, "limit": hostile,
        "runbook": hostile,
      ]
      return [
        [
          "target": hostile, "state": "connected", "cpu": 12.5, "recent": ["cpu": .array([1, hostile, 3])],
          "since": hostile,
        ],
        ["target": .string("r\(index)-b"), "state": "failed", "detail": hostile, "last_error": hostile],
        [
          "target": .string("r\(index)-c"), "state": hostile, "disk": 1.5, "disk_mount": hostile,
          "last_sample": hostile,
        ],
        [
          "target": .string("r\(index)-d"), "state": "connected", "firing": 1, "severity": hostile,
          "episodes": .array([episode, ["severity": hostile, "metric": hostile]]),
        ],
      ]
    }
  }

  private static let ownElements: Set = [
    "html", "head", "meta", "title", "link", "script", "body", "header", "main", "noscript", "section", "h1", "h2", "p",
    "code", "table", "thead", "tbody", "tr", "th", "td", "div", "label", "input", "button", "span", "time", "svg",
    "polyline", "dl", "dt", "dd",
  ]
  private static let ownAttributes: Set = [
    "lang", "charset", "name", "content", "rel", "href", "src", "defer", "id", "class", "hidden", "role", "scope",
    "type",
    "placeholder", "autocomplete", "spellcheck", "dir", "title", "datetime", "colspan", "points", "viewBox",
    "preserveAspectRatio", "aria-labelledby", "aria-label", "aria-hidden", "aria-expanded", "aria-pressed", "data-show",
    "data-target", "data-goto",
  ]

  @Test(
    "100 hostile rows are shown as what they are, and no script of theirs runs",
    .enabled(if: Chromium.path != nil, "chromium is not installed: apt-get install chromium"))
  func hostile() async throws {
    let gateway = try await GatewayFixture()
    let rows = Self.rows
    #expect(rows.count == 100)
    await gateway.operations.script(rows: .array(rows))
    // Each stream brings one more row and then ends: the browser waits for open connections before it shows the page.
    let (operations, folder) = (gateway.operations, try TemporaryDirectory("page"))
    let streams = Task {
      var position = 0
      while let (at, _) = try? await operations.following.first(
        from: position, within: .seconds(60), where: { $0 == "open" })
      {
        position = at + 1
        await operations.publish(["type": "target", "row": ["target": "late <b>row</b>", "state": "lost"]])
        await operations.finishUpdates()
      }
    }
    let opened = Self.rows.compactMap { $0["target"]?.text }.compactMap {
      $0.addingPercentEncoding(withAllowedCharacters: .alphanumerics)
    }.map { "open=\($0)" }.joined(separator: "&")
    let output = try await Chromium.show(
      "\(gateway.first.url)/login?token=\(gateway.first.oneTimeToken)#\(opened)", profile: folder.path)
    streams.cancel()
    let document = Markup(output)
    #expect(document.text.contains("101 targets, 50 connected, 50 open episodes"))
    #expect(document.text.contains("(50) Syscrap"))
    // Whatever the rows hold, the page has only its own elements with its own attributes.
    #expect(document.elements.isSubset(of: Self.ownElements), "\(document.elements.subtracting(Self.ownElements))")
    #expect(document.attributes.isSubset(of: Self.ownAttributes), "\(document.attributes)")
    #expect(document.addresses == ["data:,", "/assets/page.css", "/assets/page.js"], "no runbook of these is a link")
    for text in Self.payloads.dropLast(2) { #expect(document.text.contains(text), "\(text)") }
    #expect(document.text.contains("\\u202egnp.exe\\u0007\\u001b[31m"))
    #expect(!document.text.unicodeScalars.contains("\u{202E}"))
    #expect(document.text.contains("late <b>row</b>"))
    // With the policy enforced nothing of the page itself is refused, and nothing in it breaks.
    for complaint in ["Refused to", "violates the following", "Uncaught"] {
      #expect(!document.text.contains(complaint))
    }
    await gateway.stop()
  }

  @Test(
    "A page without a session says how to get one",
    .enabled(if: Chromium.path != nil, "chromium is not installed: apt-get install chromium"))
  func noSession() async throws {
    let gateway = try await GatewayFixture()
    let folder = try TemporaryDirectory("page")
    let output = try await Chromium.show(gateway.first.url + "/", profile: folder.path)
    #expect(output.contains("syscrap login"), "\(output)")
    await gateway.stop()
  }
}

/// What a browser wrote out of its document: there every element is a tag and every attribute's value is in quotes.
private struct Markup {
  private(set) var elements: Set<String> = []
  private(set) var attributes: Set<String> = []
  /// What elements load or lead to, in their order.
  private(set) var addresses: [String] = []
  /// Everything between the tags, as it is read.
  private(set) var text = ""

  init(_ output: String) {
    let start = output.range(of: "<!DOCTYPE html>")?.upperBound ?? output.startIndex
    let tag = /<\/?([A-Za-z0-9]+)((?:\s+[^\s="<>\/]+(?:="[^"]*")?)*)\s*>/
    let attribute = /([^\s="<>\/]+)(?:="([^"]*)")?/
    var position = start
    for match in output[start...].matches(of: tag) {
      text += output[position..<match.range.lowerBound]
      position = match.range.upperBound
      elements.insert(String(match.1))
      for pair in match.2.matches(of: attribute) {
        attributes.insert(String(pair.1))
        if ["href", "src"].contains(pair.1), let address = pair.2 { addresses.append(String(address)) }
      }
    }
    text += output[position...]
    text = output[..<start] + text
    for (entity, character) in [("&lt;", "<"), ("&gt;", ">"), ("&nbsp;", "\u{A0}"), ("&quot;", "\""), ("&amp;", "&")] {
      text = text.replacingOccurrences(of: entity, with: character)
    }
  }
}

/// A browser without a window, where there is one.
enum Chromium {
  static let path: String? = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"].first {
    FileManager.default.isExecutableFile(atPath: $0)
  }

  /// Opens the address, waits until the page is at rest, and returns its elements as text, with the console's messages.
  static func show(_ address: String, profile: String) async throws -> String {
    guard let path else { throw SocketClient.Failure(description: "no chromium") }
    // The browser must not hold connections of other tests open, so what it inherits is closed first.
    let start = "import os, sys; os.closerange(3, 65536); os.execv(sys.argv[1], sys.argv[1:])"
    let browser = try ManagedProcess([
      "python3", "-c", start, path, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
      "--no-first-run",
      "--disable-background-networking", "--disable-component-update", "--user-data-dir=\(profile)",
      "--enable-logging=stderr", "--virtual-time-budget=1500", "--dump-dom", address,
    ])
    do {
      _ = try await browser.exits.first(within: .seconds(90))
    } catch {
      _ = await browser.stop()
      throw error
    }
    return browser.lines.all.joined(separator: "\n")
  }
}
