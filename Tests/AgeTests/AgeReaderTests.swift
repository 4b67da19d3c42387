/// What is written is read again, by us and by others, whole and in pieces; and what was changed is found.
import Age
import Posix
import Storage
import Tar
import TestSupport
import Testing

struct AgeReaderTests {
  private static let chunk = 65536
  private static let outer = chunk + 16
  private let identity = X25519Identity()

  @Test func sizesAroundChunks() throws {
    var random = Random(label: "age sizes")
    for size in [0, 1, 15, 16, 17, Self.chunk - 1, Self.chunk, Self.chunk + 1, 3 * Self.chunk, 5 * Self.chunk + 9] {
      let plain = random.bytes(size)
      for piece in [1000, Self.chunk, Self.chunk + 1, .max] {
        let file = try sealed(plain, for: [X25519Identity().recipient, identity.recipient], piece: piece)
        let header = try Header(file)
        #expect(file.count == header.length + 16 + size + 16 * max(1, (size + Self.chunk - 1) / Self.chunk))
        #expect(Reading.sequential(file, [identity]) == Reading(bytes: plain), "\(size)")
        #expect(Reading.ranges(file, [identity], step: 200_000) == Reading(bytes: plain), "\(size)")
        #expect(try Reading.open(file, [identity]).size == Int64(size))
        #expect(Reading.sequential(file, [X25519Identity()]).failure == .noMatch)
      }
    }
  }

  /// No two files have anything in common but what the format says.
  @Test func nothingIsUsedTwice() throws {
    let files = try (0..<20).map { _ in try sealed(Bytes("the same"), for: [identity.recipient]) }
    let starts = try files.map { try Header($0).length }
    #expect(Set(zip(files, starts).map { Bytes($0[$1..<($1 + 16)]) }).count == 20)
    #expect(Set(try files.map { try Header($0).stanzas[0].arguments[1] }).count == 20)
    #expect(Set(try files.map { try Header($0).stanzas[0].body }).count == 20)
    let nonce = Bytes(repeating: 0, count: 16)
    #expect(!zip(files, starts).contains { $0[$1..<($1 + 16)].elementsEqual(nonce) })
  }

  @Test func rangesAreWhatReadingInARowGives() throws {
    var random = Random(label: "age ranges")
    let plain = random.bytes(9 * Self.chunk + 1234)
    let reader = try Reading.open(try sealed(plain, for: [identity.recipient]), [identity])
    var buffer = Bytes(repeating: 0, count: 6 * Self.chunk)
    for _ in 0..<400 {
      var offset = random.below(plain.count + 100)
      if random.once(in: 3) { offset -= offset % Self.chunk }
      let count = random.once(in: 2) ? random.below(3000) : random.below(buffer.count)
      let read = try reader.read(into: &buffer, count: count, at: Int64(offset))
      let expected = offset < plain.count ? plain[offset..<min(offset + count, plain.count)] : []
      #expect(buffer[..<read] == expected, "\(count) at \(offset)")
    }
    #expect(try reader.read(into: &buffer, count: 10, at: -1) == 0)
    #expect(try reader.read(into: &buffer, count: 10, at: .max) == 0)
  }

  @Test func manyThreadsReadAtOnce() throws {
    var random = Random(label: "age threads")
    let plain = random.bytes(8 * Self.chunk)
    let reader = try Reading.open(try sealed(plain, for: [identity.recipient]), [identity])
    let wrong = Monitor(0)
    let threads = (0..<4).map { start in
      Thread {
        var buffer = Bytes(repeating: 0, count: 5000)
        for step in 0..<200 {
          let offset = (start * 7919 + step * 104_729) % (plain.count - 5000)
          let count = (try? reader.read(into: &buffer, count: 5000, at: Int64(offset))) ?? 0
          if buffer[..<count] != plain[offset..<(offset + 5000)] { wrong.change { $0 += 1 } }
        }
      }
    }
    for thread in threads { thread.join() }
    #expect(wrong.look { $0 } == 0)
  }

  /// Whatever is done to a file: what is given out is how the contents begin, and in the end there is a failure.
  @Test func damages() throws {
    var random = Random(label: "age damages")
    let plain = random.bytes(3 * Self.chunk + 500)
    let file = try sealed(plain, for: [identity.recipient])
    let start = try Header(file).length + 16
    func chunk(_ n: Int) -> ArraySlice<UInt8> {
      file[(start + n * Self.outer)..<min(start + (n + 1) * Self.outer, file.count)]
    }
    func flipped(_ at: Int) -> Bytes {
      var changed = file
      changed[at] ^= 1 << random.below(8)
      return changed
    }
    let head = file[..<start]
    var cases: [(String, Bytes)] = [
      ("cut at the first chunk", Bytes(file[..<start])),
      ("cut at a chunk", Bytes(file[..<(start + 2 * Self.outer)])),
      ("cut at the last chunk", Bytes(file[..<(start + 3 * Self.outer)])),
      ("cut within a chunk", Bytes(file[..<(start + Self.outer + 777)])),
      ("cut within a tag", Bytes(file[..<(start + 3 * Self.outer + 7)])),
      ("last byte gone", Bytes(file.dropLast())),
      ("swapped chunks", Bytes(head + chunk(1) + chunk(0) + chunk(2) + chunk(3))),
      ("missing chunk", Bytes(head + chunk(0) + chunk(2) + chunk(3))),
      ("chunk twice", Bytes(head + chunk(0) + chunk(1) + chunk(1) + chunk(2) + chunk(3))),
      ("last chunk in the middle", Bytes(head + chunk(0) + chunk(3) + chunk(2))),
      ("two files in a row", file + file),
      ("another's chunks", Bytes(head) + Bytes(try sealed(plain, for: [identity.recipient])[start...])),
      ("a byte more", file + [0]),
      ("zeros more", file + Bytes(repeating: 0, count: 100_000)),
    ]
    for n in 0..<60 {
      let at = n < 40 ? n * start / 40 : start + random.below(file.count - start)
      cases.append(("byte \(at) flipped", flipped(at)))
    }
    for (name, damaged) in cases {
      let readings = [
        Reading.sequential(damaged, [identity]), .ranges(damaged, [identity], step: 5000),
        .ranges(damaged, [identity], step: 150_000),
      ]
      for reading in readings {
        #expect(reading.failure != nil, "\(name)")
        #expect(plain.starts(with: reading.bytes), "\(name)")
        #expect(reading.bytes == readings[0].bytes, "\(name)")
      }
    }
    // A whole last chunk, cut or added to.
    let whole = try sealed(Bytes(plain[..<(2 * Self.chunk)]), for: [identity.recipient])
    #expect(Reading.sequential(whole + [1], [identity]).failure == .payload(.trailing))
    #expect(Reading.sequential(Bytes(whole.dropLast(Self.outer)), [identity]).failure == .payload(.cutShort))
    let cut = try Reading.open(Bytes(whole.dropLast(Self.outer)), [identity])
    #expect(throws: StoreError.self) { try cut.checkEnd() }
  }

  @Test func passphrases() throws {
    let plain = Bytes("contents")
    let file = try sealed(plain, for: [Passphrase(secret("hunter2"), work: 10)])
    #expect(Reading.sequential(file, [Passphrase(secret("hunter2"))]).bytes == plain)
    #expect(Reading.sequential(file, [Passphrase(secret("hunter3"))]).failure == .noMatch)
    #expect(Reading.sequential(file, [identity]).failure == .noMatch)
    #expect(throws: AgeFailure.self) {
      try sealed(plain, for: [Passphrase(secret("x"), work: 10), identity.recipient])
    }
  }

  @Test func keyFiles() throws {
    let text = identity.text.copy.shown
    #expect(text.hasPrefix("AGE-SECRET-KEY-1") && text.count == 74)
    let other = X25519Identity().text.copy.shown
    #expect(try KeyFile.identities(secret("# contents\n\(text)\r\n\n# lists\n\(other)")).count == 2)
    #expect(try KeyFile.identities(secret(text))[0].recipient == identity.recipient)
    #expect(X25519Recipient(identity.recipient.text) == identity.recipient)
    let slip = String(text.dropLast()) + (text.last == "Q" ? "P" : "Q")
    for wrong in [
      "", "# nothing\n", slip, "\(text)\nx", text.lowercased(), "age1\(text.dropFirst(16))", "AGE-SECRET-KEY-1",
      "AGE-SECRET-KEY-PQ-1AAAA", identity.recipient.text.shown,
    ] {
      let failure = #expect(throws: AgeFailure.self) { try KeyFile.identities(secret(wrong)) }
      #expect(!"\(failure!)".contains(text.dropFirst(20)))
    }
    #expect("\(identity)".firstRange(of: text.dropFirst(20)) == nil)
    #expect("\(identity.text)" == "secret")
  }

  /// Headers at the limit and beyond.
  @Test func longHeaders() throws {
    let recipients = { (count: Int) in (0..<count).map { _ in X25519Identity().recipient } }
    let fits = try sealed([1, 2, 3], for: recipients(600) + [identity.recipient])
    #expect(Reading.sequential(fits, [identity]).bytes == [1, 2, 3])
    let long = try sealed([1, 2, 3], for: recipients(700) + [identity.recipient])
    #expect(Reading.sequential(long, [identity]).failure == .header("its header is too long"))
  }

  @Test(.enabled(if: Command.find("age") != nil, "age is not installed")) func withAge() throws {
    var random = Random(label: "age and age")
    try Scratch.with { scratch in
      try scratch.write("key", Raw(identity.text.copy))
      for size in [0, 1000, Self.chunk, 2 * Self.chunk + 3] {
        let plain = random.bytes(size)
        let ours = try sealed(plain, for: [identity.recipient])
        let read = try Command("age", ["-d", "-i", Raw(scratch.path("key"))], input: ours).run().checked()
        #expect(read.stdout == plain)
        let other = Raw(X25519Identity().recipient.text)
        let theirs = try Command("age", ["-r", other, "-r", Raw(identity.recipient.text)], input: plain).run().checked()
        #expect(Reading.sequential(theirs.stdout, [identity]) == Reading(bytes: plain))
      }
    }
  }

  private static let hasPyrage = (try? Reader.python("import pyrage"))?.succeeded ?? false

  /// Its headers have a stanza that nobody knows.
  @Test(.enabled(if: hasPyrage, "pyrage is not installed")) func withPyrage() throws {
    var random = Random(label: "age and pyrage")
    let script = """
      import sys, pyrage
      read, write = sys.stdin.buffer.read, sys.stdout.buffer.write
      if sys.argv[1] == "encrypt": write(pyrage.encrypt(read(), [pyrage.x25519.Recipient.from_str(sys.argv[2])]))
      if sys.argv[1] == "decrypt": write(pyrage.decrypt(read(), [pyrage.x25519.Identity.from_str(sys.argv[2])]))
      if sys.argv[1] == "lock": write(pyrage.passphrase.encrypt(read(), sys.argv[2]))
      if sys.argv[1] == "unlock": write(pyrage.passphrase.decrypt(read(), sys.argv[2]))
      """
    func run(_ what: Raw, _ key: Raw, _ input: Bytes) throws -> Bytes {
      let python = Raw(try #require(Reader.python))
      return try Command(python, ["-c", Raw(script), what, key], input: input).run().checked().stdout
    }
    let plain = random.bytes(2 * Self.chunk + 3)
    let ours = try sealed(plain, for: [identity.recipient])
    #expect(try run("decrypt", Raw(identity.text.copy), ours) == plain)
    let theirs = try run("encrypt", Raw(identity.recipient.text), plain)
    #expect(Reading.ranges(theirs, [identity], step: 70_000) == Reading(bytes: plain))
    #expect(try run("unlock", "words", sealed(plain, for: [Passphrase(secret("words"), work: 12)])) == plain)
  }
}
