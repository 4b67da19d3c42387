/// `/` itself as a source, in a tree of its own that has the system's programs in it.
import Posix
import TestSupport
import Testing

@Suite(.enabled(if: Scratch.allowsEverything, "needs root, and mounts")) struct TopTests {
  /// Runs the program with `root` as `/`: what other file systems it has are the system's.
  private func inside(_ root: Bytes, _ arguments: [Raw]) throws -> Output {
    let script: Raw = """
      cd "$1"; shift
      for i in usr lib lib64 bin opt dev proc; do
        [ ! -d /$i ] || { mount --bind /$i $i; }
      done
      mount --bind "$(dirname "$0")" prog
      exec chroot . "/prog/$(basename "$0")" "$@"
      """
    return try Command(
      "unshare", ["-m", "sh", "-ec", script, Raw(Command.sheafBinary()), Raw(root)] + arguments,
      environment: ["XDG_STATE_HOME": "/state", "HOME": "/"]
    ).run()
  }

  @Test func whatTheTopIsLike() throws {
    let scratch = try Scratch()
    let (root, store) = (scratch.path("root"), scratch.path("root/store"))
    try Command(
      "sh",
      [
        "-ec",
        """
        mkdir -p "$1"; cd "$1"; mkdir usr lib lib64 bin opt dev proc prog state out; echo x >file
        chown 12:34 .; chmod 01751 .; setfattr -n user.top -v 'a b' . 2>/dev/null || :; touch -d @1000000000.5 .
        """, "sh", Raw(root),
      ]
    ).run().checked()
    try Command.sheaf(["init", "-s", Raw(store)]).run().checked()
    try Command("touch", ["-d", "@1000000000.5", Raw(root)]).run().checked()
    let arguments: [Raw] = ["backup", "-s", "/store", "--one-file-system", "--exclude", "/state", "/"]
    try inside(root, arguments).checked()
    let wanted = try status(root)
    // As it was, as it is now, and after sets were made one.
    for step in 0..<3 {
      let target = scratch.path("target-\(step)")
      try Command.sheaf(["restore", "-s", Raw(store), "--to", Raw(target)]).run().checked()
      let (restored, now) = (try status(target), try status(root))
      #expect(restored == (step == 0 ? wanted : now), "\(step)")
      for shell in [["sh"], ["bash"], ["busybox", "sh"]] as [[Raw]] where Command.find(shell[0]) != nil {
        let box = scratch.path("by-script")
        let output = try Command(
          shell[0], shell.dropFirst() + [Raw(store.joined(Bytes("restore.sh"))), "--to", Raw(box)]
        ).run()
        let (there, here) = (try status(box), try status(target))
        #expect(output.status == 0 && there == here, "\(shell): \(output)")
        Scratch.remove(box)
      }
      if step == 0 {
        try Command("sh", ["-ec", "chmod 0750 \"$1\"; touch -d @1000000001.25 \"$1\"", "sh", Raw(root)]).run().checked()
        try inside(root, ["backup", "-s", "/store"]).checked()
      } else {
        try Command.sheaf(["consolidate", "-s", Raw(store)]).run().checked()
      }
    }
    try Command.sheaf(["verify", "-s", Raw(store)]).run().checked()
    // One folder of it says nothing of the target.
    let part = scratch.path("part")
    try Command.sheaf(["restore", "-s", Raw(store), "--to", Raw(part), "file"]).run().checked()
    let (other, whole) = (try status(part), try status(root))
    #expect(other != whole)
  }

  private func status(_ path: Bytes) throws -> String {
    let format: Raw =
      "stat -c '%u:%g %a %.9Y' \"$1\"; getfattr -d --absolute-names \"$1\" 2>/dev/null | grep user. || :"
    return try Command("sh", ["-c", format, "sh", Raw(path)]).run().checked().text
  }
}
