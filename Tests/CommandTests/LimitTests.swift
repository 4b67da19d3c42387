/// How much a store is written and read in a second, where that is limited.
import Posix
import TestSupport
import Testing

struct LimitTests {
  private static let kinds = ["directory", "sftp"] + (ObjectStore.isPossible ? ["s3"] : [])

  private static func fixture(_ kind: String) throws -> Fixture {
    switch kind {
    case "sftp": try Fixture(remote: Remote())
    case "s3": try Fixture(remote: .objectStore())
    default: try Fixture()
    }
  }

  private static func seconds(_ body: () throws -> Void) rethrows -> Double {
    let start = Timestamp.monotonicNanoseconds()
    try body()
    return Double(Timestamp.monotonicNanoseconds() - start) / 1e9
  }

  @Test(arguments: kinds) func aLimitHolds(_ kind: String) throws {
    let f = try Self.fixture(kind)
    try f.edit("head -c 2000000 /dev/urandom > photo")
    // Not faster: how much slower depends on the machine.
    #expect(try Self.seconds { try f.save(["--limit-upload", "1M"]) } >= 1.9)
    let read = try Self.seconds {
      let photo = try f.sheaf(["cat", "-s", f.named, "--limit-download", "1M", "\(f.inside)/photo"]).stdout
      #expect(try photo == Bytes.read(f.source.joined(Bytes("photo"))))
    }
    #expect(read >= 1.9)
  }

  @Test(arguments: ["--limit-upload", "--limit-download"]) func tooSlowALimitIsRefused(_ option: Raw) throws {
    let f = try Fixture()
    for value: Raw in ["0", "1000", "-1", "fast"] {
      try f.sheaf(["points", "-s", f.named, "\(option)=\(value)"], status: 64)
    }
    try f.sheaf(["points", "-s", f.named, option, "1k"])
  }
}
