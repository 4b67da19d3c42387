/// A run looks at each entry once, however little room the drive has.
import Glibc
import Posix
import TestSupport
import Testing

@Suite(.enabled(if: Command.canTrace && Host.isRoot, "needs strace, and root to mount")) struct OneLookTests {
  /// Sources on a file system that holds more than the store's has room for, as most of large disks do.
  @Test(arguments: [[], ["--differential"]] as [[Raw]]) func onAFullDisk(options: [Raw]) throws {
    let f = try Fixture()
    let disk = f.scratch.path("disk")
    try Descriptor.workingDirectory.makeDirectory(disk)
    let mount: Raw = "mount -t tmpfs -o size=200m none \"$0\" && mount -t tmpfs -o size=16m none \"$1\""
    guard try Command("sh", ["-c", mount, Raw(disk), Raw(f.store)]).run().succeeded else { return }
    defer { _ = try? Command("umount", [Raw(f.store), Raw(disk)]).run() }
    let script: Raw = """
      cd "$0"; head -c 60000000 /dev/zero > ballast; mkdir tree; cd tree; mkdir $(seq 30)
      for d in *; do for f in $(seq 50); do echo $f > $d/$f; done; done; find . | xargs touch -h -d 2024-01-01
      """
    try Command("sh", ["-ec", script, Raw(disk)]).run().checked()
    let entries = 30 * 51 + 1
    // What was changed just now is read once more by the next run.
    usleep(2_100_000)
    try f.sheaf(["init", "-s", Raw(f.store)])
    let backup: [Raw] = ["backup", "-q", "-s", Raw(f.store)]
    try f.sheaf(backup + [Raw(disk.joined(Bytes("tree")))])
    try f.sheaf(backup)
    let counts = f.scratch.path("calls")
    let traced = try Command.sheaf(backup + options).wrapped([
      "strace", "-f", "-qq", "-c", "-o", Raw(counts), "-e", "trace=newfstatat,statx,?lstat,?stat",
    ])
    try traced.run().checked()
    let looks = try Bytes.read(counts).shown.split(separator: "\n").reduce(0) { sum, line in
      let words = line.split(separator: " ")
      return words.last?.contains("stat") == true && words.count > 3 ? sum + (Int(words[3]) ?? 0) : sum
    }
    #expect(looks >= entries && looks * 10 < entries * 13, "\(looks) looks at \(entries) entries")
  }
}
