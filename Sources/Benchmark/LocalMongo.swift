internal import ArgumentParser
internal import Foundation

/// A mongod of the benchmark's own on loopback, a replica set of one, and a pymongo program beside it; both end with
/// `stop()`.
final class LocalMongo {
  let port: Int
  private let directory: String
  private let server = Process()
  private let peer = Process()
  private let toPeer = Pipe()
  private let fromPeer = Pipe()
  private var unread = Data()

  /// - Parameter python: a Python with pymongo.
  init(mongod: String, python: String) throws {
    port = 30_000 + Int.random(in: 0..<10_000)
    directory = FileManager.default.temporaryDirectory.path + "/syscrap-benchmark-\(UUID().uuidString)"
    try FileManager.default.createDirectory(
      atPath: directory + "/db", withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
    server.executableURL = URL(fileURLWithPath: mongod)
    server.arguments = [
      "--dbpath", directory + "/db", "--port", String(port), "--bind_ip", "127.0.0.1", "--replSet", "benchmark",
      "--wiredTigerCacheSizeGB", "0.5", "--nounixsocket", "--logpath", directory + "/log",
    ]
    server.standardInput = FileHandle.nullDevice
    server.standardOutput = FileHandle.nullDevice
    try server.run()
    peer.executableURL = URL(fileURLWithPath: python)
    peer.arguments = ["-u", "-c", PyMongoProgram.text, String(port)]
    peer.standardInput = toPeer
    peer.standardOutput = fromPeer
    do {
      try peer.run()
      _ = try ask(["do": "initiate"])
    } catch {
      stop()
      throw error
    }
  }

  func address(_ database: String) -> String {
    "mongodb://127.0.0.1:\(port)/\(database)?replicaSet=benchmark"
  }

  /// Gives the program an order and waits for its answer.
  func ask(_ order: [String: Any]) throws -> [String: Any] {
    try toPeer.fileHandleForWriting.write(contentsOf: try JSONSerialization.data(withJSONObject: order) + [0x0A])
    while true {
      if let end = unread.firstIndex(of: 0x0A) {
        let line = Data(unread[..<end])
        unread = Data(unread[unread.index(after: end)...])
        guard let answer = try JSONSerialization.jsonObject(with: line) as? [String: Any] else { continue }
        if let error = answer["error"] { throw ValidationError("pymongo: \(error)") }
        return answer
      }
      let more = fromPeer.fileHandleForReading.availableData
      if more.isEmpty { throw ValidationError("The pymongo program ended.") }
      unread += more
    }
  }

  func stop() {
    try? toPeer.fileHandleForWriting.close()
    for process in [peer, server] where process.isRunning {
      process.terminate()
      process.waitUntilExit()
    }
    try? FileManager.default.removeItem(atPath: directory)
  }
}

/// The least and best that pymongo does of the same work: bulk inserts, and claims by `find_one_and_update`, with the
/// same write concern and over the same indexes. One order a line, one answer a line; CPU is what the kernel counts for
/// the process, all threads included. Documents are made before the clock starts.
enum PyMongoProgram {
  static let text = #"""
    import datetime, json, resource, sys, time
    import pymongo
    from pymongo import ASCENDING, ReturnDocument, WriteConcern

    port = int(sys.argv[1])
    SAFE = WriteConcern(w="majority", j=True)
    UTC = datetime.timezone.utc

    def connect():
        return pymongo.MongoClient("127.0.0.1", port, replicaSet="benchmark", serverSelectionTimeoutMS=20000)

    def cpu():
        used = resource.getrusage(resource.RUSAGE_SELF)
        return used.ru_utime + used.ru_stime

    def initiate():
        with pymongo.MongoClient("127.0.0.1", port, directConnection=True, serverSelectionTimeoutMS=20000) as direct:
            direct.admin.command("replSetInitiate", {"_id": "benchmark",
                "members": [{"_id": 0, "host": "127.0.0.1:%d" % port}]})
        client = connect()
        while not client.admin.command("hello").get("isWritablePrimary"):
            time.sleep(0.05)
        return client

    def moment(text):
        return datetime.datetime.fromisoformat(text.replace("Z", "+00:00"))

    def load(path, prefix):
        documents = []
        with open(path) as lines:
            for line in lines:
                document = json.loads(line)
                document["target"] = prefix + document["target"]
                document["updated"] = moment(document["updated"])
                documents.append(document)
        return documents

    def measured(work):
        begin, wall = cpu(), time.monotonic()
        count = work()
        return {"count": count, "cpu": cpu() - begin, "wall": time.monotonic() - wall}

    client = None
    for line in sys.stdin:
        order = json.loads(line)
        kind = order["do"]
        try:
            if kind == "initiate":
                client = initiate()
                answer = {"pymongo": pymongo.version, "c": pymongo.has_c(),
                          "mongod": client.server_info()["version"]}
            elif kind == "insert":
                collection = client["peer"].get_collection("aggregations", write_concern=SAFE)
                collection.create_index([(name, ASCENDING) for name in
                    ("target", "metric", "name", "type", "tag", "n")], unique=True)
                documents, batch = load(order["file"], order["prefix"]), order["batch"]
                def insert():
                    for start in range(0, len(documents), batch):
                        collection.insert_many(documents[start:start + batch], ordered=False)
                    return len(documents)
                answer = measured(insert)
            elif kind == "claims":
                collection = client["peer"].get_collection("notifications", write_concern=SAFE)
                collection.drop()
                collection.create_index([("state", 1), ("next_at", 1), ("created", 1)])
                now = datetime.datetime.now(UTC)
                collection.insert_many([dict(entry, _id="%s-%d" % (order["prefix"], number), state="pending",
                    next_at=now, created=now, updated=now, epoch=0) for number, entry in
                    enumerate([order["entry"]] * order["count"])])
                due = {"state": "pending", "next_at": {"$lte": now}}
                order_of = [("next_at", 1), ("created", 1)]
                def claims():
                    count = 0
                    while True:
                        entry = collection.find_one_and_update(due, {"$set": {"state": "leased", "owner": "peer",
                            "lease_until": now}, "$inc": {"epoch": 1}}, sort=order_of,
                            return_document=ReturnDocument.AFTER)
                        if entry is None:
                            return count
                        if order["settles"]:
                            collection.update_one({"_id": entry["_id"], "owner": "peer", "epoch": entry["epoch"]},
                                {"$set": {"state": "delivered", "delivered_at": now, "receipt": "250 ok"},
                                 "$unset": {"owner": "", "lease_until": ""}})
                        count += 1
                answer = measured(claims)
            elif kind == "series":
                database = client["series"]
                database.drop_collection("samples")
                database.create_collection("samples", timeseries={"timeField": "updated", "metaField": "series"})
                documents = load(order["file"], "")
                for document in documents:
                    document["series"] = {key: document.pop(key) for key in ("target", "metric", "type")}
                for start in range(0, len(documents), 500):
                    database.samples.insert_many(documents[start:start + 500], ordered=False)
                answer = {"count": len(documents)}
            elif kind == "sizes":
                client.admin.command("fsync")
                answer = {}
                for name in order["collections"]:
                    stats = client[order["database"]].command("collStats", name)
                    answer[name] = {"data": stats.get("storageSize", 0), "indexes": stats.get("totalIndexSize", 0),
                                    "count": stats.get("count", 0), "plain": stats.get("size", 0)}
            else:
                answer = {"error": "unknown order"}
        except Exception as error:
            answer = {"error": "%s: %s" % (type(error).__name__, error)}
        print(json.dumps(answer))
    """#
}
