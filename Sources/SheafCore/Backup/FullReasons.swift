/// Why a run writes a full set, where an incremental one was to be expected.
import Posix

extension Backup {
  /// Where the newest chain has become too long for what the user wants.
  func ageReason(_ series: Series, _ newest: SetName) throws(Failure) -> String? {
    guard let every = options.fullEvery, let full = try? series.chain(of: newest).last else { return nil }
    let age = clock().seconds.subtracting(saturating: try series.head(full).started.seconds)
    return age >= every ? "the last one is \(age / 86400) days old" : nil
  }

  /// In a store that was not encrypted before, the first set that is stands by itself; the others go on being read.
  func encryptionReason(_ series: Series, _ newest: SetName) throws(Failure) -> String? {
    guard let last = try series.plainSets().last else { return nil }
    reporter.note("the sets up to \(last.text) are not encrypted; 'sheaf prune -s STORE' can remove them in time")
    return last == newest ? "the store is encrypted from now on" : nil
  }

  /// Two machines with one name would count each other's files as deleted. A user who names the series knows which is meant.
  func checkMachine(_ head: SetHead) throws(Failure) {
    guard head.isOfOtherMachine, !options.takesOver else { return }
    let text = "the series '\(Show.path(head.series))' was last written by another machine, \(Show.path(head.host))"
    guard options.series == nil else { return reporter.note(text) }
    throw Failure(
      .usage, text,
      hint: "use --series NAME for this machine, or --take-over where it has taken the other one's place")
  }

  /// Why another list of sources makes a full set; nil if it is the list that the series remembers.
  func sourcesReason(_ head: SetHead) throws(Failure) -> String? {
    if options.sources.isEmpty || head.sources.isEmpty { return nil }
    let wanted = SourceTree(options.sources).sources
    if wanted == head.sources || SourceTree.tops(wanted) == SourceTree.tops(head.sources) { return nil }
    guard options.changesSources else {
      let before = head.sources.map { Show.path([47] + $0) }.joined(separator: " ")
      throw Failure(
        .usage, "the series '\(Show.path(head.series))' backs up other sources: \(before)",
        hint: "use --series NAME for another series, or --change-sources")
    }
    // A source that is added is only something new; one that is dropped leaves what no tar record can take away.
    let dropped = head.sources.first { old in !wanted.contains { old.isAtOrBelow($0) } }
    return dropped.map { "the source \(Show.path([47] + $0)) was dropped" }
  }
}
