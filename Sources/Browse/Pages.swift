/// What can be looked at: each page with its own state.
import Posix
import SheafCore

/// Which line of a list is chosen, and which is the first one shown.
struct Cursor {
  var at = 0
  var top = 0

  mutating func move(by lines: Int, of count: Int) { at = max(0, min(at + lines, count - 1)) }

  /// The lines that are shown where there is room for so many.
  mutating func window(_ height: Int, of count: Int) -> Range<Int> {
    at = max(0, min(at, count - 1))
    if at < top { top = at }
    if at >= top + height { top = at - height + 1 }
    top = max(0, min(top, count - height))
    return top..<min(count, top + height)
  }
}

/// A folder of a point.
struct FolderPage {
  var folder: SeriesBrowser.Folder
  var cursor = Cursor()
}

/// The choice of a point.
struct PointsPage { var cursor = Cursor() }

/// The versions of a file, newest first, and the first part of the chosen one.
struct VersionsPage {
  let path: Bytes
  let versions: [Version]
  var cursor = Cursor()
}

/// What was typed, and what has it in its name.
struct SearchPage {
  var text = ""
  var search = SeriesBrowser.Search([])
  var found: [Entry] = []
  var cursor = Cursor()

  /// More than anyone looks at.
  static let limit = 1000
}

/// The first part of a file by itself, and what is to be read about the keys.
struct TextPage {
  let title: String
  let excerpt: Excerpt
  var top = 0
}

enum Page {
  case points(PointsPage)
  case versions(VersionsPage)
  case search(SearchPage)
  case text(TextPage)
}
