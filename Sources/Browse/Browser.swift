/// What is looked at, and what keys make of it. It knows nothing of a terminal: keys go in, a screen comes out.
import Posix
import SheafCore

/// Not for use from several threads.
public final class Browser {
  /// A path in a point, to be restored.
  public struct Mark: Hashable, Sendable {
    public let point: SetName
    /// Empty: all that the point has.
    public let path: Bytes

    public init(point: SetName, path: Bytes) {
      self.point = point
      self.path = path
    }
  }

  /// What whoever runs it has to do.
  public enum Effect: Equatable, Sendable {
    case none, quit, suspend, redraw
    case restore([Mark])
  }

  let source: SeriesBrowser
  /// The store and the series.
  let title: String
  /// Newest first.
  public internal(set) var points: [SetName]
  /// nil where there is no point.
  var folder: FolderPage?
  /// Above the folder; the last is seen.
  var pages: [Page] = []
  private(set) var marks: [Mark] = []
  /// In the place of what is chosen, until the next key.
  public var message: String?
  /// Called before what may take long, with what that is.
  public var willWait: (String) -> Void = { _ in }
  /// Lines that a page had room for.
  var height = 10
  private var excerpts: [(mark: Mark, excerpt: Excerpt)] = []

  /// Begins in the point's folder of that path; in the newest point where none is named. `path` is nil: in the source, and
  /// where there are several, in the folder that they lie in.
  public init(_ source: SeriesBrowser, title: String, at point: SetName?, path: Bytes?) throws(Failure) {
    self.source = source
    self.title = title
    points = try source.sets()
    guard let first = point ?? points.first else { return }
    if let path {
      guard let found = try source.folder(path, in: first) else {
        throw Failure(
          .failed, "\(Show.path(path)) is no folder in the point \(first.text)", hint: "look for it with '/'")
      }
      folder = FolderPage(folder: found)
    } else {
      folder = try outset(first).map { FolderPage(folder: $0) }
    }
  }

  private func outset(_ point: SetName) throws(Failure) -> SeriesBrowser.Folder? {
    let sources = source.sources(of: point)
    if var common = sources.first {
      // Dumps may lie elsewhere.
      while !sources.allSatisfy({ $0.isAtOrBelow(common) }) { common = common.splitAtName.parent }
      while !common.isEmpty {
        if let folder = try source.folder(common, in: point) { return folder }
        common = common.splitAtName.parent
      }
    }
    var folder = try source.folder([], in: point)
    while let here = folder, here.count == 1, let only = try source.entries(of: here, 0..<1).first,
      only.kind == .directory, let next = try source.folder(only.path, in: point)
    {
      folder = next
    }
    return folder
  }

  // MARK: - Keys

  public func handle(_ key: Key) -> Effect {
    message = nil
    do throws(Failure) { return try act(on: key) } catch {
      message = error.message
      return .none
    }
  }

  private func act(on key: Key) throws(Failure) -> Effect {
    switch key {
    case .suspend: return .suspend
    case .redraw: return .redraw
    default: break
    }
    if case .search(let page)? = pages.last, try edit(page, key) { return .none }
    if move(key) { return .none }
    switch key {
    case .enter, .right, .character("l"): try open()
    case .left, .escape, .backspace, .character("h"): try leave()
    case .character("q"): return .quit
    case .character(" "): toggle()
    case .character("/"): pages.append(.search(SearchPage()))
    case .character("?"): if !isText { pages.append(.text(Self.help)) }
    case .tab: try choosePoint()
    case .character("p"): try preview()
    case .character("d"): try compare()
    case .character("["): try step(by: 1)
    case .character("]"): try step(by: -1)
    case .character("u"): marks = []
    case .character("r"):
      let wanted = marks.isEmpty ? chosen.map { [$0] } ?? [] : marks
      if wanted.isEmpty, !isText { message = "nothing is there to be restored: choose a version that is" }
      return wanted.isEmpty ? .none : .restore(wanted)
    default: break
    }
    return .none
  }

  private var isText: Bool { if case .text? = pages.last { true } else { false } }

  /// Whether the key moved something.
  private func move(_ key: Key) -> Bool {
    let lines: Int
    switch key {
    case .up, .character("k"): lines = -1
    case .down, .character("j"): lines = 1
    case .pageUp: lines = -height
    case .pageDown: lines = height
    case .home, .character("g"): lines = -Int(Int32.max)
    case .end, .character("G"): lines = Int(Int32.max)
    default: return false
    }
    switch pages.popLast() {
    case nil: if let count = folder?.folder.count { folder?.cursor.move(by: lines, of: count) }
    case .points(var page):
      page.cursor.move(by: lines, of: points.count)
      pages.append(.points(page))
    case .versions(var page):
      page.cursor.move(by: lines, of: page.versions.count)
      pages.append(.versions(page))
    case .search(var page):
      page.cursor.move(by: lines, of: page.found.count)
      pages.append(.search(page))
    case .text(var page):
      page.top = max(0, page.top + lines)
      pages.append(.text(page))
    }
    return true
  }

  // MARK: - What is chosen

  /// What stands in the chosen line of the folder.
  func entry() throws(Failure) -> Entry? {
    guard let folder else { return nil }
    return try source.entries(of: folder.folder, folder.cursor.at..<(folder.cursor.at + 1)).first
  }

  /// What is restored where nothing is marked.
  private var chosen: Mark? {
    switch pages.last {
    case .points(let page): points.isEmpty ? nil : Mark(point: points[min(page.cursor.at, points.count - 1)], path: [])
    case .versions(let page): page.chosen
    case .search, .text: nil
    case nil: folder.flatMap { page in (try? entry())?.map { Mark(point: page.folder.point, path: $0.path) } }
    }
  }

  private func toggle() {
    guard let mark = chosen, !mark.path.isEmpty else { return }
    if isMarked(mark) { marks.removeAll { $0 == mark } } else { marks.append(mark) }
    _ = move(.down)
  }

  func isMarked(_ mark: Mark) -> Bool { marks.contains(mark) }

  /// Marks what is chosen in a search as it was last, or takes each mark of that path away.
  private func toggleFound() throws(Failure) {
    guard let entry = awaitFound() else { return }
    if marks.contains(where: { $0.path == entry.path }) {
      marks.removeAll { $0.path == entry.path }
    } else if let point = try newestPoint(with: entry) {
      marks.append(Mark(point: point, path: entry.path))
    }
    _ = move(.down)
  }

  /// Of a file the first point that has its newest version, as where versions are marked.
  private func newestPoint(with entry: Entry) throws(Failure) -> SetName? {
    guard let newest = points.first else { return nil }
    let isFolder = entry.kind == .directory
    if isFolder, try source.folder(entry.path, in: newest) != nil { return newest }
    willWait("reading the versions of \(Show.path(entry.path.splitAtName.name))")
    let versions = try source.versions(of: entry.path)
    if isFolder, let last = versions.first { return points.first { $0 < last.point } }
    return versions.first { $0.entry != nil }?.point
  }

  /// What was marked has come back.
  public func unmark(_ done: [Mark]) { marks.removeAll { done.contains($0) } }

  // MARK: - Going around

  private func open() throws(Failure) {
    switch pages.last {
    case .points(let page):
      guard points.indices.contains(page.cursor.at) else { return }
      pages.removeLast()
      try go(to: points[page.cursor.at], folder?.folder.path ?? [])
    case .search:
      guard let entry = awaitFound() else { return }
      if entry.kind == .directory { try open(found: entry.path) } else { try showVersions(of: entry.path) }
    case .versions, .text: try preview()
    case nil:
      guard let entry = try entry(), let here = folder else { return }
      if entry.kind == .directory {
        try go(to: here.folder.point, entry.path)
      } else {
        try showVersions(of: entry.path)
      }
    }
  }

  /// To the folder in that point, or the nearest above that it has.
  private func go(to point: SetName, _ wanted: Bytes, choosing name: Bytes? = nil) throws(Failure) {
    willWait("reading the list of \(point.point)")
    var path = wanted
    while true {
      if let found = try source.folder(path, in: point) {
        var page = FolderPage(folder: found)
        if let name, path == wanted { page.cursor.at = try source.place(of: name, in: found) ?? 0 }
        folder = page
        if path != wanted { message = "that point has no \(Show.path([47] + wanted))" }
        return
      }
      guard !path.isEmpty else { throw Failure(.failed, "the point \(point.text) cannot be looked into") }
      path = path.splitAtName.parent
    }
  }

  /// A folder that any point has, in the newest that does.
  private func open(found path: Bytes) throws(Failure) {
    guard var point = points.first else { return }
    if try source.folder(path, in: point) == nil, let last = try source.versions(of: path).first {
      point = points.first { $0 < last.point } ?? point
    }
    pages.removeAll()
    try go(to: point, path)
  }

  private func showVersions(of path: Bytes) throws(Failure) {
    willWait("reading the versions of \(Show.path(path.splitAtName.name))")
    let versions = try source.versions(of: path)
    var page = VersionsPage(path: path, versions: versions)
    // Of what is gone the last version is meant.
    if let first = versions.firstIndex(where: { $0.entry != nil }) {
      page.cursor.move(by: first, of: versions.count)
    }
    pages.append(.versions(page))
  }

  private func leave() throws(Failure) {
    if !pages.isEmpty {
      pages.removeLast()
      return
    }
    guard let here = folder, !here.folder.path.isEmpty else { return try choosePoint() }
    let (parent, name) = here.folder.path.splitAtName
    try go(to: here.folder.point, parent, choosing: name)
  }

  private func choosePoint() throws(Failure) {
    if case .points? = pages.last { return }
    points = try source.sets()
    var page = PointsPage()
    page.cursor.at = place ?? 0
    pages.append(.points(page))
  }

  /// The place of the folder's point among all; nil where it is gone.
  private var place: Int? { folder.flatMap { here in points.firstIndex { $0.point == here.folder.point.point } } }

  /// The same folder in an older or newer point.
  private func step(by count: Int) throws(Failure) {
    guard pages.isEmpty, let here = folder else { return }
    guard let next = place.map({ $0 + count }), points.indices.contains(next) else {
      message = count > 0 ? "there is no older point" : "there is no newer point"
      return
    }
    try go(to: points[next], here.folder.path, choosing: entry()?.path.splitAtName.name)
  }

  // MARK: - Looking for names

  /// Whether the key was one of the search's own.
  private func edit(_ page: SearchPage, _ key: Key) throws(Failure) -> Bool {
    var text = page.text
    switch key {
    case .character(let scalar): text.unicodeScalars.append(scalar)
    case .backspace:
      guard !text.isEmpty else { return false }
      text.unicodeScalars.removeLast()
    case .tab:
      try toggleFound()
      return true
    case .left, .right, .home, .end: return true
    default: return false
    }
    var next = SearchPage(text: text)
    next.search = SeriesBrowser.Search(Bytes(text.utf8))
    pages[pages.count - 1] = .search(next)
    return true
  }

  /// Whether there is something to be done while no key comes.
  public var hasWork: Bool { if case .search(let page)? = pages.last { !page.search.isDone } else { false } }

  /// Paths that are looked at in one go: keys are not to wait.
  private static let paths = 20_000

  /// Does some of it.
  public func work() {
    guard case .search(var page)? = pages.last, !page.search.isDone else { return }
    do throws(Failure) {
      if page.found.isEmpty { willWait("looking through all points") }
      var found = page.found
      try source.go(on: &page.search, atMost: Self.paths) { entry in
        if found.count < SearchPage.limit { found.append(entry) }
      }
      page.found = found
    } catch {
      message = error.message
      page.search = SeriesBrowser.Search([])
    }
    pages[pages.count - 1] = .search(page)
  }

  /// What is chosen of what was found; where nothing was yet, it is looked for until something is.
  private func awaitFound() -> Entry? {
    while case .search(let page)? = pages.last {
      if page.found.indices.contains(page.cursor.at) { return page.found[page.cursor.at] }
      guard hasWork, message == nil else { break }
      work()
    }
    return nil
  }

  // MARK: - Contents

  private func preview() throws(Failure) {
    switch pages.last {
    case .versions(let page):
      guard let mark = page.chosen, let entry = page.versions[page.cursor.at].entry else { return }
      pages.append(.text(TextPage(title: Show.path([47] + mark.path), excerpt: try excerpt(mark, entry))))
    case nil:
      guard let page = folder, let entry = try entry(), entry.kind == .file else { return }
      let mark = Mark(point: page.folder.point, path: entry.path)
      pages.append(.text(TextPage(title: Show.path([47] + mark.path), excerpt: try excerpt(mark, entry))))
    default: break
    }
  }

  /// What the chosen version changed, or where two are marked, what lies between them.
  private func compare() throws(Failure) {
    guard case .versions(let page)? = pages.last else { return }
    let all = page.versions.indices.filter { page.versions[$0].entry != nil }
    let marked = all.filter { isMarked(Mark(point: page.versions[$0].point, path: page.path)) }
    let pair = marked.count == 2 ? marked : Array(all.drop { $0 < page.cursor.at }.prefix(2))
    guard pair.count == 2, marked.count == 2 || pair[0] == page.cursor.at else {
      message = "there is no older version to compare it with"
      return
    }
    let (new, old) = (page.versions[pair[0]], page.versions[pair[1]])
    guard let newEntry = new.entry, let oldEntry = old.entry, newEntry.kind == .file, oldEntry.kind == .file else {
      message = "only files can be compared"
      return
    }
    let before = try excerpt(Mark(point: old.point, path: page.path), oldEntry)
    let after = try excerpt(Mark(point: new.point, path: page.path), newEntry)
    guard let lines = TextDifference(from: before.bytes, to: after.bytes)?.text else {
      message = "these are no texts: only their sizes and times can be compared"
      return
    }
    let isAll = before.isWhole && after.isWhole
    let head =
      "--- \(Text.time(old.point.time, seconds: true))\n+++ \(Text.time(new.point.time, seconds: true))\n"
      + (isAll ? "" : "(the first \(Show.size(Excerpt.limit)) of each)\n")
    let text = Bytes(head.utf8) + (lines.isEmpty ? Bytes("(the same contents)") : lines)
    pages.append(.text(TextPage(title: Show.path([47] + page.path), excerpt: Excerpt(bytes: text, isWhole: true))))
  }

  /// The first part of a file; those looked at last are kept.
  func excerpt(_ mark: Mark, _ entry: Entry) throws(Failure) -> Excerpt {
    if let known = excerpts.first(where: { $0.mark == mark }) { return known.excerpt }
    let bytes = try source.beginning(of: entry, atMost: Excerpt.limit)
    let excerpt = Excerpt(bytes: bytes, isWhole: Int64(bytes.count) == entry.size)
    excerpts = excerpts.suffix(7) + [(mark, excerpt)]
    return excerpt
  }
}

extension VersionsPage {
  var chosen: Browser.Mark? {
    guard versions.indices.contains(cursor.at), versions[cursor.at].entry != nil else { return nil }
    return Browser.Mark(point: versions[cursor.at].point, path: path)
  }
}
