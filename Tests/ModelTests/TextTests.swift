internal import Model
internal import Testing

@Suite struct TextTests {
  @Test(
    "Durations are read as people write them",
    arguments: [
      ("500ms", .milliseconds(500)), ("10s", .seconds(10)), ("5m", .seconds(300)), ("2h", .seconds(7200)),
      ("7d", .seconds(604_800)), ("1.5h", .seconds(5400)), ("1h30m", .seconds(5400)), ("0s", .zero), ("0", .zero),
      ("15", .seconds(15)), ("36525d", .seconds(36_525 * 86_400)),
    ] as [(String, Duration)])
  func durations(text: String, expected: Duration) {
    #expect(DurationText.parse(text) == expected)
  }

  @Test(
    "What is no duration is refused",
    arguments: [
      "", " ", "s", "ms", "-5s", "+5s", "10 s", "10min", "1e3s", "5s5s", "5m1h", "nan", "inf", "0x10s", "1.2.3s", ".5s",
      "99999999999999999999d", "36526d", "5s ", "٣s", "1w", String(repeating: "1", count: 400),
    ])
  func noDurations(text: String) {
    #expect(DurationText.parse(text) == nil)
  }

  @Test("Numbers are seconds; NaN, infinities, negative and huge ones are refused")
  func durationValues() {
    #expect(DurationText.parse(Value.int(5)) == .seconds(5))
    #expect(DurationText.parse(Value.double(0.25)) == .milliseconds(250))
    for value: Value in [
      .double(.nan), .double(.infinity), .double(-1), .int(-1), .int(.max), .int(.min), .double(1e300), .null, true, [],
      [:],
    ] {
      #expect(DurationText.parse(value) == nil, "\(value)")
    }
  }

  @Test(
    "Durations are written so that they read back",
    arguments: [
      (.zero, "0s"), (.milliseconds(500), "500ms"), (.seconds(90), "1m30s"), (.seconds(3600), "1h"),
      (.seconds(604_800), "7d"), (.milliseconds(1500), "1s500ms"),
    ] as [(Duration, String)])
  func formats(duration: Duration, text: String) {
    #expect(DurationText.format(duration) == text)
    #expect(DurationText.parse(text) == duration)
  }

  @Test("Sizes are bytes or have a unit")
  func sizes() {
    #expect(SizeText.parse("10MiB") == 10_485_760)
    #expect(SizeText.parse("1.5KiB") == 1536)
    #expect(SizeText.parse("2GB") == 2_000_000_000)
    #expect(SizeText.parse("17") == 17)
    #expect(SizeText.parse(Value.int(42)) == 42)
    for text in ["", "MiB", "10 MiB", "-1", "10XB", "1e9", "9999999999999TiB"] {
      #expect(SizeText.parse(text) == nil, "\(text)")
    }
    for value: Value in [.double(.nan), .int(-1), .int(.max), .double(1e300), true] {
      #expect(SizeText.parse(value) == nil)
    }
  }

  @Test("The nearest name is found, and none where none is near")
  func nearest() {
    let metrics = MetricCatalogue.headline.keys
    #expect(NearestName.find("Vitals.CPUU", in: metrics) == "Vitals.CPU")
    #expect(NearestName.find("vitals.cpu", in: metrics) == "Vitals.CPU")
    #expect(NearestName.find("CPU", in: metrics) == "Vitals.CPU")
    #expect(NearestName.find("intervall", in: ["interval", "name"]) == "interval")
    #expect(NearestName.find("identity-file", in: ["identity_file"]) == "identity_file")
    #expect(NearestName.find("zzzzzz", in: metrics) == nil)
    #expect(NearestName.find("", in: metrics) == nil)
    #expect(NearestName.find(String(repeating: "x", count: 100_000), in: metrics) == nil)
  }

  @Test(
    "A password in a URI is seen wherever it stands",
    arguments: [
      "smtp://u:p@h", "see https://a:b@c/d for more", "x://y z://u:p@h", "mongodb://u:p@a,b/db", "a://::p@h",
    ])
  func passwords(text: String) {
    #expect(LiteralSecrets.holdsPassword(text))
  }

  @Test(
    "Other URIs are left alone",
    arguments: [
      "smtp://h:587", "smtp://u@h", "https://h/a:b@c", "ops@example.org", "a:b@c", "", "://", "http://", "x://u:@h",
    ])
  func noPasswords(text: String) {
    #expect(!LiteralSecrets.holdsPassword(text))
  }

  @Test("URIs are taken apart, and what is none is refused")
  func uris() {
    let uri = URIText("smtp+plain://me@[::1]:2525/x?y")
    #expect(uri?.scheme == "smtp+plain")
    #expect(uri?.user == "me")
    #expect(uri?.host == "::1")
    #expect(uri?.port == 2525)
    #expect(uri?.rest == "/x?y")
    for text in [
      "", "mail.example.org:587", "smtp:", "smtp://", "smtp://h:0", "smtp://h:99999", "smtp://h:1x", "x y://h",
      "smtp://[::1", "s://h\n",
    ] {
      #expect(URIText(text) == nil, "\(text)")
    }
  }
}
