/// What a comparison does with what could not be looked at: what was known of it stays, and the new set says so.
import Posix
import Tar

extension Comparison {
  /// What is known of something below a directory that could not be looked at stays.
  func keepUnseen() {
    diverge()
    addUnseen(Bytes(old!.line.path), before: before())
  }

  /// The entry of a directory that could not be listed: it says so in the archive, as its line will in the manifest.
  func unlistedEntry(_ listing: Listing, _ status: Status?, _ known: [Attribute]?) -> PackItem? {
    guard let status, !places.isHeld(listing.path) else { return nil }
    hasOwnEntry = true
    diverge()
    unlisted.append(listing.path)
    let (parent, name) = listing.path.splitAtName
    return .directory(
      path: listing.path, status: status, attributes: known ?? (try? reader.attributes(ofDirectory: name, in: parent)),
      dumpdir: [], comment: TarHeader.comment(ofDirectory: true, mark))
  }

  /// A name whose contents or attributes cannot be read.
  func unreadable(_ entry: PackEntry, _ failure: SystemError) {
    reporter.problem(failure.asProblem, path: entry.path)
    diverge()
    addUnseen(entry.path, before: entry.before)
  }

  /// A name whose status cannot be had.
  func unseen(_ index: Int, _ item: Listing.Item, _ listing: Listing, _ before: Before) throws(Failure) {
    let path = listing.path.joined(listing.name(item))
    let cause = SystemError("look at", path, item.failure)
    if !item.isMade {
      reporter.problem(cause.isMissing ? "is not there" : "cannot look at it: \(cause.cause)", path: path)
    }
    diverge()
    unseenDirectories.append(path)
    addUnseen(path, before: before)
  }

  func addUnseen(_ path: Bytes, before: Before) {
    let lines = UnseenLines(path: path, before: before, isFull: options.isFull)
    sink.add(.line(text: lines.text, canonical: 0, isNote: true), estimate: 0)
    if let old = before.line, lines.canonical > 0 {
      old.withUnsafeBytes { sink.keep(UnsafeRawBufferPointer(rebasing: $0[..<lines.canonical])) }
    }
    lines.count(in: &counts)
    if reporter.wantsItems { reporter.item(.unseen, path, .file) }
  }
}
