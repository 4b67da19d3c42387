/// Stores in an object store: every command on them, servers that are busy, answers that are lost, runs that are killed.
import Glibc
import Posix
import TestSupport
import Testing

@Suite(.enabled(if: ObjectStore.isPossible, Comment(rawValue: ObjectStore.needs)))
struct ObjectStoreTests {
  private static let tree = TestTree([
    "letters": .directory(["june": .file("hello\n"), "july": .file(size: 300_000, seed: 5)]),
    "link": .symlink("letters/june"),
  ])

  private func fixture(
    _ tree: TestTree = tree, encrypted: Bool? = nil, environment: [String: Raw?] = [:],
    of kind: ObjectStore.Kind = .ceph
  ) throws -> (Fixture, ObjectStore) {
    (
      try Fixture(tree, encrypted: encrypted, remote: .objectStore(environment, of: kind)),
      try ObjectStore.started(kind)
    )
  }

  /// What the store's keys begin with.
  private func prefix(_ f: Fixture) -> Raw { Raw(Bytes(f.store.dropFirst())) }

  /// The store as another program copies it, which is an ordinary one: by its path from here on.
  private func copyDown(_ f: Fixture, _ store: ObjectStore) throws {
    try store.download(prefix(f), to: f.store)
    f.remote = nil
  }

  @Test(arguments: ObjectStore.kinds) func everyCommand(_ kind: ObjectStore.Kind) throws {
    let (f, store) = try fixture(encrypted: false, of: kind)
    try f.expectThreePoints()
    try f.sheaf(["protect", "-s", f.named, Raw(f.points[0].set)])
    #expect(try f.sheaf(["protect", "-s", f.named, "--remove", Raw(f.points[1].set)]).text.contains("not protected"))
    try f.expectThinningOut()
    let manifest = try store.keys(below: prefix(f)).first { $0.hasSuffix("\(f.newest.set).mtree.gz") }
    try store.s3cmd(["del", "s3://\(ObjectStore.bucket)/\(try #require(manifest))"]).run().checked()
    try f.sheaf(["rebuild", "-s", f.named])
    #expect(try f.sheaf(["unlock", "-s", f.named]).text == "nothing is locked\n")
    #expect(try f.sheaf(["identify", "--new", "-s", f.named]).text.contains("from now on"))
    try f.sheaf(["verify", "-q", "-s", f.named])
    #expect(try store.keys(below: prefix(f)).allSatisfy { !$0.contains(".partial") && !$0.contains("lock.") })
    try copyDown(f, store)
    try f.expectScript(f.points)
    try f.sheaf(["verify", "-q", "-s", f.named])
    try f.expectEveryPoint()
    try f.edit("echo by path >> new")
    #expect(try f.save().kind == "incremental")
  }

  /// More than goes in one request: volumes are sent in parts, and have their names at once.
  @Test(arguments: [false, true], ObjectStore.kinds)
  func largeArchivesAreVolumes(encrypted: Bool, _ kind: ObjectStore.Kind) throws {
    let (f, store) = try fixture(encrypted: encrypted, of: kind)
    try f.edit("head -c 70000000 /dev/urandom > large; head -c 20000000 /dev/urandom > other")
    try f.save(["--volume-size", "40M"])
    try f.edit("echo small > small")
    try f.save()
    let volumes = try store.keys(below: prefix(f)).filter { $0.contains(".tar.gz") }
    #expect(volumes.count == 4, "\(volumes)")
    try f.sheaf(["verify", "-q", "-s", f.named])
    try f.sheaf(["prune", "--keep-last", "1", "--fold", "-s", f.named])
    try f.reload()
    try f.expectEveryPoint()
    try copyDown(f, store)
    try f.expectScript(f.points)
  }

  /// An unchanged run over a year of sets, which the listing shows as names that are none of a set's, and what reads.
  @Test func fewRequestsWhereNothingChanged() throws {
    let (f, store) = try fixture(
      environment: ["XDG_CACHE_HOME": "/dev/null/none", "XDG_STATE_HOME": "/dev/null/none"])
    for name in ["CACHE", "STATE"] {
      f.remote?.environment["XDG_\(name)_HOME"] = Raw(f.scratch.path(Raw(name)))
    }
    for day in 0..<3 {
      if day > 0 { try f.edit("echo \(day) >>letters/june") }
      try f.sheaf(["backup", "-q", "-s", f.named, "--series", "me", Raw(f.source)])
    }
    try store.fill("\(prefix(f))/me", (0..<724).map { Bytes("n\($0)".utf8) })
    func requests(_ arguments: [Raw], _ more: [Raw] = []) throws -> [String] {
      let relay = try ObjectStore.Relay(to: store, in: f.scratch)
      try f.sheaf(
        arguments + ["-s", f.named, "--series", "me"] + more, environment: store.environment(port: relay.port))
      return relay.requests
    }
    _ = try requests(["backup", "-q", "--skip-unchanged"], [Raw(f.source)])
    for (arguments, more, most) in [
      (["backup", "-q", "--skip-unchanged"], [Raw(f.source)], 5), (["points"], [], 3), (["ls"], [], 3),
      (["find", "june"], [], 3),
    ] as [([Raw], [Raw], Int)] {
      let made = try requests(arguments, more)
      #expect(made.count <= most, "\(made.joined(separator: "\n"))")
    }
    try f.edit("echo more >>letters/june")
    let saved = try requests(["backup", "-q"], [Raw(f.source)])
    #expect(saved.count <= 13, "\(saved.joined(separator: "\n"))")
  }

  /// Up into a bucket, and back down from there.
  @Test func pointsAreCopied() throws {
    let store = try ObjectStore.shared.get()
    let f = try Fixture(Self.tree, encrypted: false)
    try f.save()
    try f.edit("echo more >>letters/june; head -c 20000000 /dev/urandom > large")
    try f.save(["--volume-size", "18M"])
    let there: Raw = "s3://\(ObjectStore.bucket)/\(prefix(f))-copy"
    let environment = store.environment()
    try f.sheaf(["init", "-q", "-s", there], environment: environment)
    try f.sheaf(["copy", "-q", "-s", f.named, "--to", there], environment: environment)
    let again = try f.sheaf(["copy", "--json", "-s", f.named, "--to", there], environment: environment)
    #expect(again.status == 0)
    try f.sheaf(["verify", "-q", "-s", there], environment: environment)
    let back = f.scratch.path("back")
    try f.sheaf(["init", "-q", "-s", Raw(back)])
    try f.sheaf(["copy", "-q", "-s", there, "--to", Raw(back)], environment: environment)
    try f.sheaf(["verify", "-q", "-s", Raw(back)])
    let whole = try Fixture(f, store: back, encrypted: false, points: f.points)
    try whole.expectEveryPoint()
    try whole.expectScript(whole.points)
  }

  /// An interrupt completes what is on its way, and the next run goes on from there.
  @Test func anInterruptedRunIsTakenOver() throws {
    let (f, store) = try fixture(encrypted: false)
    try f.save()
    try f.edit("for i in 1 2 3 4 5 6 7 8; do head -c 3000000 /dev/urandom > large$i; done")
    let relay = try ObjectStore.Relay(to: store, ["PUT:.tar.gz.00002:hang2:1"], in: f.scratch)
    let running = try Command.sheaf(
      ["backup", "--volume-size", "4M", "-s", f.named, Raw(f.source)], environment: store.environment(port: relay.port)
    ).start()
    for _ in 0..<1000 where !relay.requests.contains(where: { $0.contains(".tar.gz.00002") }) { usleep(10_000) }
    running.signal(SIGINT)
    let output = running.wait()
    #expect(output.status == 130, "\(output)")
    try f.sheaf(["verify", "-q", "-s", f.named])
    let next = try f.sheaf(["backup", "-s", f.named, Raw(f.source)])
    #expect(next.errorText.contains("what an interrupted run had saved is kept"), "\(next)")
    try f.sheaf(["verify", "-q", "-s", f.named])
    let target = try f.restore()
    #expect(try Snapshot(of: f.source).differences(to: Snapshot(of: target.joined(f.inside.bytes))) == [])
  }

  /// Another writer waits its turn; a lock of a machine that is gone counts for half an hour by the server's clock.
  @Test func anotherWriterIsLockedOut() throws {
    let (f, store) = try fixture()
    try f.save()
    try f.edit("echo more >>letters/june")
    let relay = try ObjectStore.Relay(to: store, ["PUT:.tar.gz:hang3:1"], in: f.scratch)
    let first = try Command.sheaf(
      ["backup", "-s", f.named, Raw(f.source)], environment: store.environment(port: relay.port)
    ).start()
    for _ in 0..<1000 where !relay.requests.contains(where: { $0.contains(".tar.gz") }) { usleep(10_000) }
    let second = try f.sheaf(["backup", "-s", f.named, Raw(f.source)], status: 11)
    #expect(second.errorText.contains("in use by process"), "\(second)")
    #expect(first.wait().status == 0)
    let folder = try store.keys(below: prefix(f)).first { $0.hasSuffix(".mtree.gz") }
    let series = Raw(Bytes(try #require(folder).utf8).splitAtName.parent)
    try store.fill(series, [Bytes("lock.elsewhere_m0123456789abcdef_n1_t1_f0_fedcba9876543210_77")])
    let third = try f.sheaf(["backup", "-s", f.named, Raw(f.source)], status: 11)
    #expect(third.errorText.contains("in use by process 77 on elsewhere"), "\(third)")
    try f.sheaf(["unlock", "--force", "-s", f.named])
    try f.sheaf(["backup", "-q", "-s", f.named, Raw(f.source)])
  }

  // MARK: - Trouble

  struct Trouble: CustomTestStringConvertible, Sendable {
    /// As `s3-relay.py` takes it.
    let rule: String
    var options: [Raw] = []
    var status: Int32 = 0
    /// What is said.
    var words: [String] = []
    var testDescription: String { rule }
  }

  private static let allTroubles = [
    Trouble(rule: "*::503:3"), Trouble(rule: "*::500:2"), Trouble(rule: "GET::429:2"),
    Trouble(rule: "PUT:.tar.gz:503:2"), Trouble(rule: "PUT:lock.:lose:1"), Trouble(rule: "DELETE::lose:2"),
    Trouble(rule: "PUT:.tar.gz:lose:1"), Trouble(rule: "PUT:.mtree.gz:lose:2"), Trouble(rule: "POST:uploadId:lose:1"),
    Trouble(rule: "POST:uploads:lose:1"), Trouble(rule: "PUT:partNumber:half:2"),
    Trouble(rule: "PUT:partNumber:lose:1"),
    Trouble(rule: "GET::cut:3"), Trouble(rule: "PUT::501:99"),
    Trouble(rule: "PUT:.tar.gz:hang7:1", options: ["--retry-for", "20s"]),
    Trouble(rule: "*::expired:9999", status: 10, words: ["ExpiredToken"]),
    Trouble(rule: "*::region:9999", status: 10, words: ["is in the region mars-1", "set AWS_REGION"]),
    Trouble(rule: "*::skew:9999", status: 10, words: ["this machine's clock is 61 min behind", "set the clock"]),
    Trouble(rule: "*::503:9999", options: ["--retry-for", "1s"], status: 10, words: ["503 SlowDown"]),
    Trouble(rule: "PUT:.tar.gz:quota:9999", status: 1, words: ["QuotaExceeded", "the next run continues"]),
    Trouble(rule: "PUT:.mtree.gz:skew:9999", status: 1, words: ["this machine's clock is 61 min behind"]),
    Trouble(rule: "PUT:partNumber:503:9999", options: ["--retry-for", "1s"], status: 1, words: ["503 SlowDown"]),
  ]

  /// Some of them, unless all are wanted (`make faults`).
  private static let troubles: [Trouble] = {
    if Host.environment("SHEAF_FAULTS") == Bytes("all") { return allTroubles }
    var random = Random(label: "object store's troubles")
    return random.pick(6, of: allTroubles)
  }()

  /// What a server and a network do now and then. A run goes on, or says what it met; the next one ends well.
  @Test(arguments: troubles) func trouble(_ trouble: Trouble) throws {
    let (f, store) = try fixture()
    try f.save()
    try f.edit("echo more >>letters/june; head -c 17000000 /dev/urandom > large")
    let relay = try ObjectStore.Relay(to: store, [trouble.rule], in: f.scratch)
    let output = try f.sheaf(
      ["backup", "-s", f.named] + trouble.options + [Raw(f.source)], status: trouble.status,
      environment: store.environment(port: relay.port))
    for word in trouble.words { #expect(output.errorText.contains(word), "\(output)") }
    #expect(!output.errorText.contains(ObjectStore.secret.bytes.shown))
    if trouble.status != 0 { try f.sheaf(["backup", "-q", "-s", f.named, Raw(f.source)]) }
    try f.sheaf(["verify", "-q", "-s", f.named])
    let target = try f.restore()
    #expect(try Snapshot(of: f.source).differences(to: Snapshot(of: target.joined(f.inside.bytes))) == [])
    let left = try store.keys(below: prefix(f)).filter { $0.contains(".partial") || $0.contains("lock.") }
    #expect(left == [], "\(relay.requests.joined(separator: "\n"))")
  }

  /// At every request that changes something, before it is carried out and after. What was killed, the next run makes good.
  @Test(arguments: ["kill", "killed"], ObjectStore.kinds)
  func killedAtEveryRequest(_ how: String, _ kind: ObjectStore.Kind) throws {
    let (f, store) = try fixture(encrypted: how == "killed", of: kind)
    try f.save()
    var number = how == "kill" ? 1 : 2
    while true {
      try f.edit("echo \(number) >>letters/june; head -c 5000000 /dev/urandom > large")
      let relay = try ObjectStore.Relay(to: store, ["[PD]:/:\(how):\(number)"], in: f.scratch)
      let command = try Command.sheaf(
        ["backup", "-s", f.named, "--volume-size", "2M", Raw(f.source)],
        environment: store.environment(port: relay.port))
      let output = try relay.known(command).run()
      if output.signal == 0 {
        #expect(output.status == 0, "\(output)")
        break
      }
      #expect(output.signal == SIGKILL, "\(output)")
      try f.sheaf(["backup", "-q", "-s", f.named, Raw(f.source)])
      try f.sheaf(["verify", "-q", "-s", f.named])
      let target = try f.restore()
      #expect(
        try Snapshot(of: f.source).differences(to: Snapshot(of: target.joined(f.inside.bytes))) == [],
        "\(number): \(relay.requests.joined(separator: "\n"))")
      Scratch.remove(target)
      number += Host.environment("SHEAF_FAULTS") == Bytes("all") ? 1 : 5
    }
    #expect(number > 6)
    let left = try store.keys(below: prefix(f)).filter { $0.contains(".partial") || $0.contains("lock.") }
    #expect(left == [])
  }

  @Test func aRandomHistory() throws {
    let (f, store) = try fixture()
    Scratch.remove(f.source)
    var history = History(label: "object store")
    try history.make(at: f.source)
    try f.save()
    var story: [String] = []
    for step in 1...6 {
      story += try history.step().map { "\(step): \($0)" }
      try f.save(step % 3 == 0 ? ["--volume-size", "2M"] : [])
      guard step % 2 == 0 else { continue }
      try f.sheaf((step == 2 ? ["consolidate"] : ["prune", "--fold", "--keep-last", "3"]) + ["-s", f.named])
      try f.reload()
    }
    try f.sheaf(["verify", "-q", "-s", f.named])
    let told = "seed \(history.seed)\n" + story.joined(separator: "\n")
    for point in f.points {
      let lines = try f.differences(at: point)
      #expect(lines == [], "\(point.set), \(told)")
    }
    try copyDown(f, store)
    try f.expectScript(f.points, told)
  }

  // MARK: - What is said

  @Test(
    arguments: [
      (["AWS_SECRET_ACCESS_KEY": "wrong-secret"], "the secret key does not fit"),
      (["AWS_ACCESS_KEY_ID": "nobody"], "does not know the access key"),
      (["AWS_ACCESS_KEY_ID": ""], "no access key was found"),
      (["AWS_ENDPOINT_URL_S3": "http://127.0.0.1:1"], "couldn't connect to server"),
      (["AWS_ENDPOINT_URL_S3": "nonsense"], "an endpoint is written https://HOST[:PORT]"),
    ] as [([String: String], String)]) func whatIsWrongIsSaid(_ environment: [String: String], _ words: String) throws
  {
    let store = try ObjectStore.shared.get()
    var all = store.environment()
    for (name, value) in environment { all[name] = Raw(value) }
    let output = try Command.sheaf(
      ["points", "-s", "s3://\(ObjectStore.bucket)/x"], environment: all, timeout: 30
    ).run()
    #expect(output.status == 10, "\(output)")
    #expect(output.errorText.contains(words), "\(output)")
    #expect(output.errorText.contains("hint: "), "\(output)")
    #expect(!output.errorText.contains("wrong-secret"))
  }

  /// It does not tell an access key that it does not know from a secret that is wrong.
  @Test(
    .enabled(if: ObjectStore.Kind.swift.isPossible, Comment(rawValue: ObjectStore.needsSwift)),
    arguments: ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"])
  func aWrongKeyIsSaidOfSwiftToo(_ name: String) throws {
    var all = try ObjectStore.started(.swift).environment()
    all[name] = "nobody"
    let output = try Command.sheaf(
      ["points", "-s", "s3://\(ObjectStore.bucket)/x"], environment: all, timeout: 30
    ).run()
    #expect(output.status == 10, "\(output)")
    #expect(output.errorText.contains("the secret key does not fit"), "\(output)")
  }

  @Test func aBucketIsNotMade() throws {
    let store = try ObjectStore.shared.get()
    let output = try Command.sheaf(["init", "-s", "s3://no-such-bucket/x"], environment: store.environment()).run()
    #expect(output.status != 0)
    #expect(output.errorText.contains("has no bucket 'no-such-bucket'"), "\(output)")
    #expect(output.errorText.contains("sheaf makes no buckets"), "\(output)")
  }

  /// Over TLS, with a certificate that only its own file vouches for; who asks, and where, from a profile.
  @Test func aProfileAndACertificate() throws {
    let (f, store) = try fixture()
    try f.scratch.write(
      "credentials",
      "[other]\naws_access_key_id=x\n[mine]\naws_access_key_id = \(ObjectStore.keyID)\naws_secret_access_key = \(ObjectStore.secret)\n"
    )
    try f.scratch.write(
      "config", Raw("[profile mine]\nendpoint_url = https://localhost:\(store.port + 1)\nregion = us-east-1\n"))
    var environment: [String: Raw?] = [
      "AWS_PROFILE": "mine", "AWS_SHARED_CREDENTIALS_FILE": Raw(f.scratch.path("credentials")),
      "AWS_CONFIG_FILE": Raw(f.scratch.path("config")),
    ]
    let refused = try Command.sheaf(["points", "-s", f.named], environment: environment).run()
    #expect(refused.errorText.contains("AWS_CA_BUNDLE"), "\(refused)")
    environment["AWS_CA_BUNDLE"] = Raw(store.certificate)
    try Command.sheaf(["backup", "-q", "-s", f.named, Raw(f.source)], environment: environment).run().checked()
    try Command.sheaf(["verify", "-q", "-s", f.named], environment: environment).run().checked()
  }
}
