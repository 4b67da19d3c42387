/// What object stores are asked and answer: signatures as Amazon publishes them, listings, what is damaged.
import Posix
import Storage
import TestSupport
import Testing

@Suite struct S3Tests {
  // MARK: - Signatures

  struct Example: CustomTestStringConvertible, Sendable {
    let testDescription: String
    var method = "GET"
    var path: StaticString = "/"
    var query: [(name: String, value: Bytes)] = []
    var headers: [(name: String, value: String)] = []
    var body: StaticString = ""
    let signature: String
  }

  /// "Examples: Signature Calculations in AWS Signature Version 4" in the Amazon S3 API reference.
  private static let examples = [
    Example(
      testDescription: "a part of an object", path: "/test.txt", headers: [("range", "bytes=0-9")],
      signature: "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"),
    Example(
      testDescription: "an object is written", method: "PUT", path: "/test$file.text",
      headers: [("date", "Fri, 24 May 2013 00:00:00 GMT"), ("x-amz-storage-class", "REDUCED_REDUNDANCY")],
      body: "Welcome to Amazon S3.", signature: "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd"),
    Example(
      testDescription: "a query without a value", query: [("lifecycle", [])],
      signature: "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"),
    Example(
      testDescription: "a listing", query: [("max-keys", Bytes("2")), ("prefix", Bytes("J"))],
      signature: "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"),
  ]

  @Test(arguments: examples) func signs(_ example: Example) {
    let payload = S3Hash.sha256(Bytes(example.body)).hex
    let headers =
      example.headers + [
        ("host", "examplebucket.s3.amazonaws.com"), ("x-amz-content-sha256", payload),
        ("x-amz-date", "20130524T000000Z"),
      ]
    let text = S3Signature.authorization(
      example.method, path: S3Signature.encoded(Bytes(example.path), keepsSlashes: true), query: example.query,
      headers: headers, payload: payload, at: Timestamp(year: 2013, month: 5, day: 24), region: "us-east-1",
      S3Credentials(keyID: "AKIAIOSFODNN7EXAMPLE", secret: Bytes("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")))
    #expect(text.hasSuffix("Signature=\(example.signature)"), "\(text)")
    #expect(text.contains("Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request"))
  }

  @Test func digestsAreThoseOfTheStandards() {
    #expect(
      S3Hash.sha256(Bytes("abc")).hex == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")
    // RFC 1321, RFC 4231 (test case 2).
    #expect(S3Hash.md5Base64(Bytes("abc")) == "kAFQmDzST7DWlj99KOF/cg==")
    #expect(
      S3Hash.hmac(Bytes("Jefe"), Bytes("what do ya want for nothing?")).hex
        == "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843")
  }

  // MARK: - Answers

  @Test(
    arguments: [
      ("<a>x</a>", "x"), ("<?xml version='1.0'?><!-- b --><a x=\"y\">1 &lt;&amp;&#65;&#x42;</a>", "1 <&AB"),
      ("<n:a>ns</n:a>", "ns"), ("<a/>", ""), ("<a>&unknown;</a>", "&unknown;"), ("<a>&#1114112;</a>", "&#1114112;"),
    ]) func answersAreRead(_ text: String, _ wanted: String) throws
  {
    let element = try #require(S3Element(document: Bytes(text.utf8)))
    #expect(element.name == Bytes("a"))
    #expect(element.text.shown == wanted)
  }

  @Test(arguments: ["", "x", "<", "<a", "<a>", "<a></b>", "</a>", "<a><b></a></b>", "<a>&#xFFFFFFFFFFFF;"])
  func whatIsNoAnswerIsNone(_ text: String) { #expect(S3Element(document: Bytes(text.utf8)) == nil) }

  @Test func depthCostsNothing() {
    let deep = Bytes(repeatElement(Bytes("<a>"), count: 200_000).joined())
    #expect(S3Element(document: deep) == nil)
  }

  @Test func timesAreRead() {
    let moment = Timestamp(year: 2013, month: 5, day: 24, hour: 1, minute: 2, second: 3)
    #expect(Timestamp(httpDate: "Fri, 24 May 2013 01:02:03 GMT") == moment)
    #expect(Timestamp(listed: Bytes("2013-05-24T01:02:03Z")) == moment)
    #expect(Timestamp(listed: Bytes("2013-05-24T01:02:03.250Z"))?.nanoseconds == 250_000_000)
    for text in ["", "x", "Fri, 24 Mai 2013 01:02:03 GMT", "Fri, 99 May 2013 01:02:03 GMT", "a b c d e"] {
      #expect(Timestamp(httpDate: text) == nil)
      #expect(Timestamp(listed: Bytes(text.utf8)) == nil)
    }
    for text in ["2013-05-24", "2013-05-24T", "T", "2013-13-24T01:02:03Z", "2013-05-24T25:02:03Z"] {
      #expect(Timestamp(listed: Bytes(text.utf8)) == nil)
    }
  }

  @Test(
    arguments: [
      ("https://s3.example.org", "s3.example.org"), ("http://127.0.0.1:9000/", "127.0.0.1:9000"),
      ("https://s3.example.org:443", "s3.example.org"), ("HTTP://h:80", "h"), ("http://[::1]:9000", "[::1]:9000"),
    ]) func endpointsAreRead(_ text: String, _ host: String) throws
  {
    var settings = S3Settings()
    settings.endpoint = text
    let endpoint = try #require(S3Endpoint(settings, bucket: Bytes("b")))
    #expect(endpoint.host == host)
    #expect(endpoint.hasBucketInPath)
  }

  @Test(arguments: [
    "", "s3.example.org", "ftp://x", "https://", "https://a/b", "https://key:secret@host", "http://a b",
  ])
  func whatIsNoEndpointIsRefused(_ text: String) {
    var settings = S3Settings()
    settings.endpoint = text
    #expect(S3Endpoint(settings, bucket: Bytes("b")) == nil)
  }

  @Test func amazonsOwnHostsHaveTheBucketInTheirNames() throws {
    var settings = S3Settings()
    settings.region = "eu-north-1"
    let endpoint = try #require(S3Endpoint(settings, bucket: Bytes("photos-1")))
    #expect(endpoint.origin == "https://photos-1.s3.eu-north-1.amazonaws.com")
    #expect(!endpoint.hasBucketInPath)
    let dotted = try #require(S3Endpoint(settings, bucket: Bytes("photos.home")))
    #expect(dotted.origin == "https://s3.eu-north-1.amazonaws.com")
    #expect(dotted.hasBucketInPath)
  }

  // MARK: - A real server

  /// Ceph gives 1000 names at a time, Swift 50 as it is started here.
  @Test(.enabled(if: ObjectStore.isPossible, Comment(rawValue: ObjectStore.needs)), arguments: ObjectStore.kinds)
  func longListingsAreWhole(_ kind: ObjectStore.Kind) throws {
    try Scratch.with { scratch in
      let store = try ObjectStore.started(kind)
      let names = (0..<(kind == .ceph ? 1105 : 155)).map { Bytes("n\($0) é+%&".utf8) }
      let prefix = Raw(Bytes(scratch.path.dropFirst()))
      try store.fill(prefix, names)
      let folder = try S3Folder(
        store.settings, bucket: ObjectStore.bucket.bytes, key: prefix.bytes, path: prefix.bytes, spool: scratch.path)
      let items = try folder.list()
      #expect(items.map(\.name) == names.sorted { $0.lexicographicallyPrecedes($1) })
      #expect(items.allSatisfy { abs($0.modified.seconds - Timestamp.now().seconds) < 600 })
    }
  }

  /// What was sent and never put together is in no listing; it goes with the lock of the run that was killed.
  @Test(.enabled(if: ObjectStore.isPossible, Comment(rawValue: ObjectStore.needs)), arguments: ObjectStore.kinds)
  func whatWasNeverPutTogetherIsGivenUp(_ kind: ObjectStore.Kind) throws {
    try Scratch.with { scratch in
      let store = try ObjectStore.started(kind)
      let server = try S3Server(store.settings, bucket: ObjectStore.bucket.bytes)
      let key = Bytes(scratch.path.dropFirst())
      let folder = try S3Folder(
        store.settings, bucket: ObjectStore.bucket.bytes, key: key, path: key, spool: scratch.path)
      var begin = S3Request(method: "POST", key: key.joined(Bytes("a.tar.gz")))
      begin.query = [("uploads", [])]
      _ = try server.send(begin)
      func uploads() throws -> Int {
        var list = S3Request()
        list.query = [("uploads", []), ("prefix", key)]
        return try S3Element(document: server.send(list).body)?.all("Upload").count ?? -1
      }
      #expect(try uploads() == 1)
      #expect(try folder.list().isEmpty)
      folder.dropUnfinished()
      #expect(try uploads() == 0)
    }
  }
}
