/// What every kind of store has to keep, one row a promise. A new kind gets a row in `kinds`.
import Posix
import Storage
import TestSupport
import Testing

/// A kind of store, and how a new, empty folder of it is had.
struct StoreKind: CustomTestStringConvertible, Sendable {
  let testDescription: String
  let make: @Sendable (Scratch) throws -> any StoreFolder
}

struct Promise: CustomTestStringConvertible, Sendable {
  let testDescription: String
  let check: @Sendable (any StoreFolder) throws -> Void
}

private let kinds =
  [
    StoreKind(testDescription: "directory") { try LocalFolder($0.path) },
    StoreKind(testDescription: "memory") { _ in MemoryFolder() },
    StoreKind(testDescription: "folder in a directory") { scratch in
      let top = try LocalFolder(scratch.path)
      try top.makeFolder(Bytes("in"))
      return try top.folder(Bytes("in"))
    },
    StoreKind(testDescription: "sftp-server on a pipe") { scratch in
      try SFTPFolder(
        [Bytes("/usr/lib/openssh/sftp-server")], place: scratch.path, path: scratch.path, LinkManners(patience: 0))
    },
    StoreKind(testDescription: "throw-away: letters turned over") { _ in FlippedFolder(MemoryFolder()) },
  ] + objectStores + rclone

/// It replaces what is there, and stands before all kinds of object stores.
private let rclone: [StoreKind] =
  Command.find("rclone") == nil
  ? []
  : [
    StoreKind(testDescription: "rclone on a pipe") { scratch in
      try SFTPFolder(
        [Bytes("rclone"), Bytes("serve"), Bytes("sftp"), Bytes("--stdio"), scratch.path], place: Bytes("/"),
        path: scratch.path, LinkManners(patience: 0), spool: scratch.path)
    }
  ]

/// A folder of its own for each promise, in one bucket.
private let objectStores: [StoreKind] = ObjectStore.kinds.map { kind in
  StoreKind(testDescription: "object store: \(kind.rawValue)") { scratch in
    try S3Folder(
      ObjectStore.started(kind).settings, bucket: ObjectStore.bucket.bytes, key: Bytes(scratch.path.dropFirst()),
      path: scratch.path, spool: scratch.path)
  }
}

@Suite struct ConformanceTests {
  @Test(arguments: kinds, promises) func keeps(_ kind: StoreKind, _ promise: Promise) throws {
    try Scratch.with { scratch in try promise.check(try kind.make(scratch)) }
  }
}

private let a = Bytes("a")
private let b = Bytes("b")

private func fill(_ folder: any StoreFolder, _ name: Bytes, _ text: StaticString) throws {
  let output = try folder.begin(name)
  try output.append(Bytes(text))
  try output.finish()
}

private func outcome(of body: () throws -> Void) -> StoreError.Kind? {
  do { try body() } catch { return (error as? StoreError)?.kind }
  return nil
}

private let promises = [
  Promise(testDescription: "a new folder is empty") { folder in
    let items = try folder.list()
    let item = try folder.item(a)
    #expect(items.isEmpty)
    #expect(item == nil)
  },
  Promise(testDescription: "what was written is read back") { folder in
    try fill(folder, a, "hello, world")
    #expect(try folder.contents(a, atMost: 100) == Bytes("hello, world"))
    let item = try #require(try folder.item(a))
    #expect(item.size == 12)
    #expect(item.kind == .file)
  },
  Promise(testDescription: "ranges are read, and end where the file ends") { folder in
    try fill(folder, a, "0123456789")
    let file = try folder.open(a)
    #expect(file.size == 10)
    for (offset, count, wanted) in [(0, 3, "012"), (7, 3, "789"), (8, 5, "89"), (10, 4, ""), (400, 4, "")] {
      var buffer = Bytes(repeating: 0, count: 8)
      let read = try buffer.withUnsafeMutableBytes {
        try file.read(into: $0.baseAddress!, count: count, at: Int64(offset))
      }
      #expect(Bytes(buffer[..<read]) == Bytes(wanted.utf8))
    }
  },
  Promise(testDescription: "the names alone are those of the listing") { folder in
    for name in ["b", "a", "c"] { try fill(folder, Bytes(name.utf8), "xyz") }
    try folder.makeFolder(Bytes("aa"))
    let (names, listed) = (try folder.names(), try folder.list().map(\.name))
    #expect(names == listed)
    #expect(names == ["a", "aa", "b", "c"].map { Bytes($0.utf8) })
  },
  Promise(testDescription: "a lock is one's alone where the store has locks, and its name everywhere") { folder in
    let (state, lock) = try folder.markLocked(a)
    #expect(state != .heldByOther)
    #expect(lock.isInPlace)
    #expect(outcome { _ = try folder.markLocked(a) } == .exists)
    // Of an open file, so that even the same process is another.
    #expect(folder.lock(a, exclusive: false).state == (state == .taken ? .heldByOther : .unknown))
    try folder.remove(a)
    #expect(!lock.isInPlace)
    lock.release()
    #expect(try folder.markLocked(a).lock.isInPlace)
  },
  Promise(testDescription: "a folder is read by many or changed by one, where the store has locks") { folder in
    let first = folder.lock(nil, exclusive: false)
    guard first.state != .unknown else { return }
    let second = folder.lock(nil, exclusive: false)
    #expect(second.state == .taken)
    #expect(folder.lock(nil, exclusive: true).state == .heldByOther)
    first.lock?.release()
    second.lock?.release()
    #expect(folder.lock(nil, exclusive: true).state == .taken)
  },
  Promise(testDescription: "a few bytes are put in the place of others") { folder in
    try fill(folder, a, "0123456789")
    try folder.patch(a, at: 3, Bytes("xyz"))
    #expect(try folder.contents(a, atMost: 100) == Bytes("012xyz6789"))
    #expect(outcome { try folder.patch(b, at: 0, Bytes("x")) } == .missing)
  },
  Promise(testDescription: "a new file appears whole, under its name, and what is given up was never there") { folder in
    let new = NewStoredFile(a, in: folder)
    try new.append(Bytes("hello"))
    #expect(try folder.names() == [])
    try new.finish()
    // What does not rename is not sent before it gets its name.
    #expect(try folder.names() == (folder.traits.renames ? [a + NewStoredFile.partialSuffix] : []))
    try new.publish()
    #expect(try folder.names() == [a])
    #expect(try folder.contents(a, atMost: 10) == Bytes("hello"))
    let other = NewStoredFile(b, in: folder)
    try other.append(Bytes(repeating: 7, count: 1 << 17))
    other.discard()
    #expect(try folder.names() == [a])
  },
  Promise(testDescription: "a listing is sorted bytewise and has sizes and kinds") { folder in
    for name in ["b", "a", "B", "a.b", "é"] { try fill(folder, Bytes(name.utf8), "xyz") }
    try folder.makeFolder(Bytes("aa"))
    let items = try folder.list()
    #expect(items.map(\.name.shown) == ["B", "a", "a.b", "aa", "b", "é"])
    #expect(items.map(\.size) == [3, 3, 3, 0, 3, 3])
    #expect(items.filter { $0.kind == .folder }.map(\.name.shown) == ["aa"])
  },
  Promise(testDescription: "a listing is new at each call") { folder in
    try fill(folder, a, "")
    #expect(try folder.list().count == 1)
    try fill(folder, b, "")
    #expect(try folder.list().count == 2)
    try folder.remove(a)
    #expect(try folder.list().map(\.name) == [b])
  },
  Promise(testDescription: "beginning replaces") { folder in
    try fill(folder, a, "something long")
    try fill(folder, a, "short")
    #expect(try folder.contents(a, atMost: 100) == Bytes("short"))
  },
  Promise(testDescription: "a file that was abandoned is gone on with") { folder in
    guard folder.traits.appends else { return }
    let output = try folder.begin(a)
    try output.append(Bytes("keep this, not that"))
    output.abandon()
    let more = try folder.resume(a, from: 10)
    try more.append(Bytes(" and more"))
    try more.finish()
    #expect(try folder.contents(a, atMost: 100) == Bytes("keep this, and more"))
  },
  Promise(testDescription: "what is truncated is gone on with at its end") { folder in
    let output = try folder.begin(a)
    try output.append(Bytes("0123456789"))
    try output.truncate(to: 4)
    try output.append(Bytes("x"))
    try output.sync()
    try output.finish()
    #expect(try folder.contents(a, atMost: 100) == Bytes("0123x"))
  },
  Promise(testDescription: "a rename never replaces") { folder in
    guard folder.traits.renames else { return }
    try fill(folder, a, "1")
    try fill(folder, b, "2")
    #expect(outcome { try folder.rename(a, to: b) } == .exists)
    #expect(try folder.contents(a, atMost: 9) == Bytes("1"))
    #expect(try folder.contents(b, atMost: 9) == Bytes("2"))
    try folder.remove(b)
    try folder.rename(a, to: b)
    try folder.sync()
    #expect(try folder.item(a) == nil)
    #expect(try folder.contents(b, atMost: 9) == Bytes("1"))
  },
  Promise(testDescription: "of many that make one mark, one succeeds") { folder in
    // Whether it can is known after the first.
    try folder.mark(b)
    try folder.remove(b)
    guard folder.traits.marksOnce else {
      try folder.mark(a)
      return #expect(outcome { try folder.mark(a) } == .exists)
    }
    let made = Monitor(0)
    let refused = Monitor(0)
    let threads = (0..<8).map { _ in
      Thread {
        do throws(StoreError) {
          try folder.mark(a)
          made.look { $0 += 1 }
        } catch { if error.kind == .exists { refused.look { $0 += 1 } } }
      }
    }
    for thread in threads { thread.join() }
    #expect(made.look { $0 } == 1)
    #expect(refused.look { $0 } == 7)
    let item = try #require(try folder.item(a))
    #expect(item.size == 0)
  },
  Promise(testDescription: "what is not there is missing") { folder in
    #expect(outcome { _ = try folder.open(a) } == .missing)
    #expect(outcome { try folder.remove(a) } == .missing)
    #expect(outcome { try folder.rename(a, to: b) } == .missing)
    #expect(outcome { _ = try folder.folder(a) } == .missing)
    #expect(outcome { _ = try folder.resume(a, from: 0) } == .missing)
  },
  Promise(testDescription: "a folder is no file, and a file no folder") { folder in
    try folder.makeFolder(a)
    try fill(folder, b, "")
    #expect(outcome { _ = try folder.open(a) } == .unfit)
    #expect([.unfit, .missing].contains(outcome { _ = try folder.folder(b) }))
    #expect(outcome { try folder.makeFolder(a) } == .exists)
    // To an object store these are two names.
    guard folder.traits.renames else { return }
    #expect(outcome { _ = try folder.begin(a) } == .unfit)
    #expect(outcome { try folder.makeFolder(b) } == .exists)
  },
  Promise(testDescription: "folders hold files of their own") { folder in
    try folder.makeFolder(a)
    let inner = try folder.folder(a)
    try fill(inner, b, "inside")
    #expect(try folder.item(b) == nil)
    #expect(try folder.folder(a).contents(b, atMost: 9) == Bytes("inside"))
    #expect(inner.path == folder.path.joined(a))
  },
  Promise(testDescription: "more than is wanted is refused") { folder in
    try fill(folder, a, "0123456789")
    #expect(outcome { _ = try folder.contents(a, atMost: 9) } == .tooLarge)
    #expect(try folder.contents(a, atMost: 10).count == 10)
  },
  Promise(testDescription: "names are bytes") { folder in
    let other: Bytes = [0xff, 0x20, 0x0a, 0x27]
    let name = folder.traits.takesAnyName ? other : [0xc3, 0xa9] + other.dropFirst()
    if !folder.traits.takesAnyName { #expect(outcome { _ = try folder.begin(other) } == .unfit) }
    try fill(folder, name, "odd")
    #expect(try folder.list().map(\.name) == [name])
    #expect(try folder.contents(name, atMost: 9) == Bytes("odd"))
  },
  Promise(testDescription: "a reader goes on with what it opened") { folder in
    guard folder.traits.renames else { return }
    try fill(folder, a, "old")
    let file = try folder.open(a)
    try folder.remove(a)
    try fill(folder, a, "new!")
    var buffer = Bytes(repeating: 0, count: 3)
    let read = try buffer.withUnsafeMutableBytes { try file.read(into: $0.baseAddress!, count: 3, at: 0) }
    #expect(read == 3)
    #expect(buffer == Bytes("old"))
  },
]
