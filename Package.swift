// swift-tools-version: 6.2
import PackageDescription

// Every target of ours is one line in one of the lists below; its folder is Sources/<name> or Tests/<name>.
// The arrows between rooms are explained in doc/architecture.md.

/// Packages from outside, by the name that the rooms below use.
let packages: [String: Package.Dependency] = [
  "swift-log": .package(url: "https://github.com/apple/swift-log", from: "1.6.0"),
  "swift-metrics": .package(url: "https://github.com/apple/swift-metrics", from: "2.5.0"),
  "swift-crypto": .package(url: "https://github.com/apple/swift-crypto", from: "4.0.0"),
  "swift-argument-parser": .package(url: "https://github.com/apple/swift-argument-parser", from: "1.5.0"),
  "swift-configuration": .package(url: "https://github.com/apple/swift-configuration", from: "1.0.0"),
  "swift-service-lifecycle": .package(url: "https://github.com/swift-server/swift-service-lifecycle", from: "2.6.0"),
  "hummingbird": .package(url: "https://github.com/hummingbird-project/hummingbird", from: "2.5.0"),
  "GRDB.swift": .package(url: "https://github.com/groue/GRDB.swift", from: "7.0.0"),
  "Yams": .package(url: "https://github.com/jpsim/Yams", from: "6.0.0"),
]

let logging: Target.Dependency = .product(name: "Logging", package: "swift-log")
let metrics: Target.Dependency = .product(name: "Metrics", package: "swift-metrics")
let crypto: Target.Dependency = .product(name: "Crypto", package: "swift-crypto")
let arguments: Target.Dependency = .product(name: "ArgumentParser", package: "swift-argument-parser")
let configuration: Target.Dependency = .product(name: "Configuration", package: "swift-configuration")
let unixSignals: Target.Dependency = .product(name: "UnixSignals", package: "swift-service-lifecycle")
let hummingbird: Target.Dependency = .product(name: "Hummingbird", package: "hummingbird")
let grdb: Target.Dependency = .product(name: "GRDB", package: "GRDB.swift")
let yams: Target.Dependency = .product(name: "Yams", package: "Yams")

/// Swift 6 mode checks concurrency completely; a warning in our own code ends the build.
let settings: [SwiftSetting] = [
  .swiftLanguageMode(.v6),
  .treatAllWarnings(as: .error),
  .enableUpcomingFeature("InternalImportsByDefault"),
  .enableUpcomingFeature("ExistentialAny"),
  .enableUpcomingFeature("MemberImportVisibility"),
]

struct Room {
  var name: String
  var uses: [Target.Dependency]
  init(_ name: String, _ uses: [Target.Dependency] = []) {
    self.name = name
    self.uses = uses
  }
}

/// C libraries: a module map each, found through pkg-config.
let cLibraries: [(name: String, pkgConfig: String, apt: String)] = [
  ("CSSH2", "libssh2", "libssh2-1-dev"),
  ("CCurl", "libcurl", "libcurl4-openssl-dev"),
  ("CMongoC", "libmongoc-1.0", "libmongoc-dev"),
]

let rooms: [Room] = [
  // ground floor: knows nothing of monitoring
  Room("Supervision", [logging]),
  Room("Threads"),
  Room("Model"),
  // contracts, and the rooms that fulfil them with one C library each
  Room("Remote", ["Model"]),
  Room("SSH", ["Model", "Remote", "Threads", "CSSH2", crypto, logging, metrics]),
  Room("Storage", ["Model", logging, metrics]),
  Room("SQLiteStorage", ["Model", "Storage", grdb, logging]),
  Room("MongoStorage", ["Model", "Storage", "Threads", "CMongoC", logging, metrics]),
  Room("Transfer", ["Threads", "CCurl", logging]),
  // the pipeline: each room one stage, none imports another
  Room("Aggregation", ["Model", "Remote", "Supervision", logging, metrics]),
  Room("Reactions", ["Model", "Supervision", logging, metrics]),
  Room("Notifications", ["Model", "Storage", "Transfer", "Supervision", crypto, logging, metrics]),
  // top floor
  Room("Gateway", ["Model", "Storage", "Supervision", hummingbird, crypto, logging]),
  Room(
    "App",
    [
      "Supervision", "Threads", "Model", "Remote", "SSH", "Storage", "SQLiteStorage", "MongoStorage", "Transfer",
      "Aggregation", "Reactions", "Notifications", "Gateway",
      unixSignals, configuration, yams, crypto, logging, metrics,
    ]),
]

let programs: [Room] = [
  Room("syscrap", ["App", "Model", "Storage", "Transfer", arguments, logging, metrics]),
  Room(
    "Benchmark",
    ["Model", "Remote", "SSH", "Threads", "Storage", "SQLiteStorage", "MongoStorage", arguments, logging]),
]

/// Tests/TestKit: what tests share. Every suite gets it.
let testKit = Room("TestKit", [])

let suites: [Room] = [
  Room("SupervisionTests", ["Supervision"]),
  Room("ThreadsTests", ["Threads"]),
  Room("ModelTests", ["Model"]),
  Room("SSHTests", ["SSH", "Remote", "Model", "Threads", crypto, logging]),
  Room("StorageTests", ["Storage", "SQLiteStorage", "Model", logging]),
  Room("StorageContractTests", ["Storage", "SQLiteStorage", "MongoStorage", "Model", logging]),
  Room("MongoStorageTests", ["MongoStorage", "Storage", "Model", "Threads", logging]),
  Room("TransferTests", ["Transfer", "Threads", logging]),
  Room("AggregationTests", ["Aggregation", "Model", "Remote", "Supervision", logging]),
  Room("ReactionsTests", ["Reactions", "Model", "Supervision", logging]),
  Room("NotificationsTests", ["Notifications", "Storage", "Model", "Transfer", "Supervision", logging]),
  Room("GatewayTests", ["Gateway", "Model", "Storage", "Supervision", logging]),
  Room(
    "AppTests",
    [
      "syscrap", "App", "Model", "Storage", "SQLiteStorage", "MongoStorage", "SSH", "Remote", "Supervision", logging,
      yams,
    ]),
]

let package = Package(
  name: "syscrap",
  products: [.executable(name: "syscrap", targets: ["syscrap"])],
  dependencies: packages.sorted { $0.key < $1.key }.map(\.value),
  targets:
    cLibraries.map { .systemLibrary(name: $0.name, pkgConfig: $0.pkgConfig, providers: [.apt([$0.apt])]) }
    + rooms.map { .target(name: $0.name, dependencies: $0.uses, swiftSettings: settings) }
    + programs.map { .executableTarget(name: $0.name, dependencies: $0.uses, swiftSettings: settings) }
    + [.target(name: testKit.name, dependencies: testKit.uses, path: "Tests/TestKit", swiftSettings: settings)]
    + suites.map {
      .testTarget(name: $0.name, dependencies: $0.uses + ["TestKit"], swiftSettings: settings)
    }
)
