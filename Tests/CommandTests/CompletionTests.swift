/// What a shell proposes: stores, series and points that this machine knows, without asking any store.
import Posix
import TestSupport
import Testing

@Suite struct CompletionTests {
  /// What bash proposes behind these words, of which the last one is not finished.
  private func proposals(_ words: [Raw], home: Bytes) throws -> [String] {
    let script: Raw = """
      source <("$0" --generate-completion-script bash)
      COMP_WORDS=("$0" "$@"); COMP_CWORD=$#; COMP_LINE="$0 $*"; COMP_POINT=${#COMP_LINE}
      _sheaf sheaf "${!#}" "${COMP_WORDS[COMP_CWORD-1]}"
      printf '%s\\n' "${COMPREPLY[@]}"
      """
    let command = Command(
      "bash", ["-c", script, Raw(try Command.sheafBinary())] + words,
      environment: ["HOME": Raw?.none, "XDG_STATE_HOME": Raw(home)], timeout: 60)
    return try command.run().checked().lines.filter { !$0.isEmpty }
  }

  @Test func pointsSeriesAndStoresAreKnown() throws {
    let f = try Fixture(TestTree(["a": .file("x")]), encrypted: false)
    let home = f.scratch.path("state")
    let words: [Raw] = ["backup", "-q", "-s", f.named, "--series", "two words", Raw(f.source)]
    try f.sheaf(words, environment: ["XDG_STATE_HOME": Raw(home)])
    try f.edit("echo more >a")
    try f.sheaf(words, environment: ["XDG_STATE_HOME": Raw(home)])
    let points = try f.sheaf(["points", "--json", "-s", f.named]).json().compactMap { $0["set"] as? String }
    let names = points.map { String($0.prefix(18)) }
    for command in ["restore", "ls", "cat"] {
      let found = try proposals([Raw(command), "-s", f.named, "--at", ""], home: home)
      #expect(Set(found) == Set(names + ["latest"]), "\(command)")
    }
    #expect(try proposals(["restore", "-s", f.named, "--at", Raw(names[0])], home: home) == [names[0]])
    #expect(try proposals(["restore", "-s", f.named, "--series", ""], home: home) == ["two words"])
    #expect(try proposals(["status", "--forget", ""], home: home).count == 1)
    #expect(try proposals(["repo"], home: home) == ["report"])
    // The drive is away, and nothing is known yet.
    Scratch.remove(f.store)
    #expect(try proposals(["restore", "-s", f.named, "--at", Raw(names[1])], home: home) == [names[1]])
    #expect(try proposals(["restore", "--at", ""], home: f.scratch.path("none")) == ["latest"])
  }
}
