/// How pages look: a line that says where one is, a list, what is chosen, and the keys.
import Posix
import SheafCore

extension Browser {
  /// The smallest that anything can be seen on.
  private static let least = (columns: 20, rows: 6)

  /// All lines of a terminal of that size.
  public func screen(columns: Int, rows: Int) -> Screen {
    var screen = Screen()
    guard columns >= Self.least.columns, rows >= Self.least.rows else {
      screen.lines = [Screen.Line(Text.cut("too small: make it larger", to: columns))]
      screen.lines += Array(repeating: Screen.Line(""), count: max(0, rows - 1))
      return screen
    }
    height = rows - 3
    let page: Drawn
    do throws(Failure) { page = try draw(columns) } catch {
      page = Drawn(left: title, lines: [], keys: [])
      message = error.message
    }
    screen.lines.append(Screen.Line(Text.sides(" " + page.left, page.right + " ", columns, keepsEnd: true), .reverse))
    screen.lines += page.lines.prefix(height)
    screen.lines += Array(repeating: Screen.Line(""), count: rows - 2 - screen.lines.count)
    let marked = marks.isEmpty ? "" : "\(marks.count) marked "
    let said = message ?? page.chosen
    screen.lines.append(
      Screen.Line(
        Text.sides(" " + said, marked, columns, keepsEnd: message == nil), message == nil ? .plain : .bold))
    screen.lines.append(Screen.Line(Self.keys(page.keys, page.last, columns), .dim))
    return screen
  }

  private struct Drawn {
    var left: String
    var right = ""
    var lines: [Screen.Line]
    /// The whole of what the chosen line may show a part of.
    var chosen = ""
    var keys: [String]
    /// Those that are shown in any case.
    var last = "? help  q quit"
  }

  /// As many as there is room for; `last` always.
  private static func keys(_ keys: [String], _ last: String, _ columns: Int) -> String {
    var line = ""
    for key in keys where 1 + Show.columns(line + key) + 2 + last.count <= columns { line += key + "  " }
    return Text.cut(" " + line + last, to: columns)
  }

  private func draw(_ columns: Int) throws(Failure) -> Drawn {
    switch pages.popLast() {
    case nil: return try drawFolder(columns)
    case .points(var page):
      defer { pages.append(.points(page)) }
      return drawPoints(&page, columns)
    case .versions(var page):
      defer { pages.append(.versions(page)) }
      return try drawVersions(&page, columns)
    case .search(var page):
      defer { pages.append(.search(page)) }
      return drawSearch(&page, columns)
    case .text(var page):
      defer { pages.append(.text(page)) }
      let lines = page.excerpt.lines(columns: columns - 1)
      page.top = max(0, min(page.top, lines.count - height))
      return Drawn(
        left: page.title, lines: lines.dropFirst(page.top).prefix(height).map { Screen.Line(" " + $0) },
        keys: ["Esc back", "PgDn more"])
    }
  }

  private static func row(_ left: String, _ right: String, _ columns: Int, isChosen: Bool, keepsEnd: Bool = false)
    -> Screen.Line
  {
    Screen.Line(Text.sides(left, right + " ", columns, keepsEnd: keepsEnd), isChosen ? .reverse : .plain)
  }

  // MARK: - The pages

  private func drawFolder(_ columns: Int) throws(Failure) -> Drawn {
    guard var page = folder else {
      return Drawn(
        left: title, lines: [Screen.Line(""), Screen.Line(" no points yet: 'sheaf backup' makes one")], keys: [])
    }
    let window = page.cursor.window(height, of: page.folder.count)
    folder = page
    let point = page.folder.point
    let entries = try source.entries(of: page.folder, window)
    var lines = zip(window, entries).map { place, entry in
      let mark = isMarked(Mark(point: point, path: entry.path)) ? "*" : " "
      return Self.row(
        "\(mark) \(Self.name(entry))", Self.facts(entry, columns), columns, isChosen: place == page.cursor.at)
    }
    if page.folder.count == 0 { lines = [Screen.Line("  (empty)", .dim)] }
    let chosen = page.cursor.at - window.lowerBound
    let isNewest = point.point == points.first?.point
    return Drawn(
      left: Show.path([47] + page.folder.path),
      right: Text.time(point.time, seconds: isCrowded(point)) + (isNewest ? " (newest)" : ""), lines: lines,
      chosen: entries.indices.contains(chosen) ? Show.path([47] + entries[chosen].path) : "",
      keys: ["Enter open", "Space mark", "r restore", "/ search", "Tab points", "p preview"])
  }

  /// Whether a point next to it lies in the same minute.
  private func isCrowded(_ point: SetName) -> Bool {
    guard let place = points.firstIndex(where: { $0.point == point.point }) else { return true }
    return Text.needsSeconds(points[max(0, place - 1)..<min(points.count, place + 2)].map(\.time))
  }

  /// What a folder's line says of an entry.
  private static func name(_ entry: Entry) -> String {
    let name = Show.path(entry.path.splitAtName.name)
    switch entry.kind {
    case .directory: return name + "/"
    case .symlink: return "\(name) -> \(Show.path(entry.linkTarget))"
    default: return name
    }
  }

  private static func facts(_ entry: Entry, _ columns: Int) -> String {
    let size = Text.right(entry.kind == .file ? Show.size(entry.size) : "", 7)
    return columns < 40 ? size : "\(size)  \(Text.time(entry.modified))"
  }

  private func drawPoints(_ page: inout PointsPage, _ columns: Int) -> Drawn {
    let window = page.cursor.window(height, of: points.count)
    let seconds = Text.needsSeconds(points.map(\.time))
    let lines = window.map { place in
      let counts = source.counts(of: points[place])
      let facts = counts.map { "\(Text.right("\($0.files) files", 14))  \(Text.right(Show.size($0.bytes), 7))" } ?? "?"
      let here = folder?.folder.point.point == points[place].point ? ">" : " "
      let time = Text.time(points[place].time, seconds: seconds)
      return Self.row("\(here) \(time)", facts, columns, isChosen: place == page.cursor.at)
    }
    return Drawn(
      left: title, right: points.count == 1 ? "1 point" : "\(points.count) points", lines: lines,
      chosen: points.indices.contains(page.cursor.at) ? points[page.cursor.at].text : "",
      keys: ["Enter open", "r restore all of it", "/ search", "Esc back"])
  }

  private func drawVersions(_ page: inout VersionsPage, _ columns: Int) throws(Failure) -> Drawn {
    let room = max(1, min(page.versions.count, (height - 2) / 2))
    let window = page.cursor.window(room, of: page.versions.count)
    let seconds = Text.needsSeconds(page.versions.map(\.point.time))
    // Where there is room for both.
    let modifiedSeconds = columns >= 72 && Text.needsSeconds(page.versions.compactMap { $0.entry?.modified })
    let point = Text.left("point", seconds ? 19 : 16)
    let heading = "  \(point)  \(Text.left("what", 8))  \(Text.right("size", 7))  modified"
    var lines = [Screen.Line(Text.cut(heading, to: columns), .dim)]
    for place in window {
      let version = page.versions[place]
      let mark = isMarked(Mark(point: version.point, path: page.path)) ? "*" : " "
      let time = Text.time(version.point.time, seconds: seconds)
      var cells = "\(mark) \(time)  \(Text.left(version.event.rawValue, 8))"
      if let entry = version.entry {
        let size = entry.kind == .file ? Show.size(entry.size) : ""
        cells += "  \(Text.right(size, 7))  \(Text.time(entry.modified, seconds: modifiedSeconds))"
      }
      let what = version.aspects.words.joined(separator: ", ")
      if !what.isEmpty { cells += "  \(what)" }
      lines.append(Screen.Line(Text.left(cells, columns), place == page.cursor.at ? .reverse : .plain))
    }
    lines.append(Screen.Line(String(repeating: "─", count: columns), .dim))
    let left = height - lines.count
    lines += try excerpt(page, columns).prefix(left).map { Screen.Line(" " + $0) }
    let count = page.versions.count
    return Drawn(
      left: Show.path([47] + page.path), right: count == 1 ? "1 version" : "\(count) versions", lines: lines,
      chosen: page.versions.indices.contains(page.cursor.at) ? page.versions[page.cursor.at].point.text : "",
      keys: ["Space mark", "r restore", "d diff", "p preview", "Esc back"])
  }

  private func excerpt(_ page: VersionsPage, _ columns: Int) throws(Failure) -> [String] {
    guard let mark = page.chosen, let entry = page.versions[page.cursor.at].entry else { return ["(not there)"] }
    switch entry.kind {
    case .file:
      // What cannot be read of one version is no reason not to see the others.
      do throws(Failure) { return try excerpt(mark, entry).lines(columns: columns - 1) } catch {
        return Excerpt(bytes: Bytes(error.message.utf8), isWhole: true).lines(columns: columns - 1)
      }
    case .symlink: return [Text.cut("-> \(Show.path(entry.linkTarget))", to: columns - 1)]
    case .directory: return ["(a folder)"]
    default: return ["(no file)"]
    }
  }

  private func drawSearch(_ page: inout SearchPage, _ columns: Int) -> Drawn {
    let window = page.cursor.window(height, of: page.found.count)
    let marked = Set(marks.map(\.path))
    let lines = window.map { place in
      let entry = page.found[place]
      let path = Show.path(entry.path) + (entry.kind == .directory ? "/" : "")
      let mark = marked.contains(entry.path) ? "*" : " "
      return Self.row(
        "\(mark) \(path)", Self.facts(entry, columns), columns, isChosen: place == page.cursor.at, keepsEnd: true)
    }
    let isFull = page.found.count >= SearchPage.limit
    let found = isFull ? "\(page.found.count) found and more" : "\(page.found.count) found"
    return Drawn(
      left: "search: \(Show.path(Bytes(page.text.utf8)))_",
      right: page.text.isEmpty ? "in all points" : page.search.isDone ? found : found + " so far", lines: lines,
      chosen: page.found.indices.contains(page.cursor.at) ? Show.path([47] + page.found[page.cursor.at].path) : "",
      keys: ["type a name", "Enter open", "Tab mark"], last: "Esc back")
  }

  // MARK: - Help

  static let help = TextPage(
    title: "help",
    excerpt: Excerpt(
      bytes: Bytes(
        """
        Up Down j k      move; also PgUp PgDn Home End g G
        Enter Right l    open a folder, see the versions of a file
        Left Esc h       back, to the folder above
        Tab              choose a point
        [ ]              the same folder one point older, newer
        /                look for names in all points as you type
        p                preview: the first part of a file
        d                of versions: what the chosen changed, or
                         what lies between two that are marked
        Space            mark or not (Tab in a search); u: no marks
        r                restore what is marked, or what is chosen:
                         you are asked where
        ^L               draw everything anew
        q ^C             leave

        In a search with a slash whole paths count: letters/ju
        """.utf8), isWhole: true))
}
