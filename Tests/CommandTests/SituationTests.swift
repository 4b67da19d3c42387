/// Whole situations as a new user meets them, typed in a terminal; what it shows is kept in `fixtures/situations`.
///
/// `Tests/Situations/play.py` types and compares. `SHEAF_KEEP_SCREENS=1` writes what is seen there, to be looked at.
import Posix
import TestSupport
import Testing

private let needs = "needs root, the right to mount, loop devices, tmux, python3, bash and rsync"
private let isPossible =
  TerminalSession.isPossible && Mounted.isPossible
  && (["python3", "bash", "rsync", "unshare", "setpriv"] as [Raw]).allSatisfy { Command.find($0) != nil }
  && !Volume.mountable([.ext4]).isEmpty

@Suite(.enabled(if: isPossible, "\(needs)")) struct SituationTests {
  private static let top = Bytes(#filePath.utf8).splitAtName.parent.splitAtName.parent.splitAtName.parent

  @Test(arguments: ["rotation", "rsync", "rescue", "restic"] as [Raw], [80, 60])
  func isShownAsItIsKept(situation: Raw, columns: Int) throws {
    let name: Raw = columns == 80 ? "\(situation).txt" : "\(situation)-\(columns).txt"
    let file = Self.top.joined(Bytes("fixtures/situations")).joined(name.bytes)
    var arguments: [Raw] = [
      Raw(Self.top.joined(Bytes("Tests/Situations/play.py"))), "--sheaf", Raw(try Command.sheafBinary()),
    ]
    if Host.environment("SHEAF_KEEP_SCREENS") != nil { arguments.append("--write") }
    let output = try Command("python3", arguments + [Raw(file)], timeout: 600).run()
    #expect(output.succeeded, "\(output.text)\(output.errorText)")
  }
}
