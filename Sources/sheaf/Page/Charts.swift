/// Drawings of the page, as SVG in its text: each has words beside it that say the same.
import Posix
import SheafCore

enum Charts {
  private static let width = 960.0

  private static func svg(_ height: Double, _ label: String, _ content: String) -> String {
    "<svg viewBox=\"0 0 \(Int(width)) \(Int(height))\" role=\"img\" aria-label=\"\(HTML.text(label))\">\(content)</svg>"
  }

  private static func letter(_ kind: SetKind) -> String {
    switch kind {
    case .full: "f"
    case .incremental: "i"
    case .differential: "d"
    }
  }

  // MARK: - Time

  private struct TimeAxis {
    let first: Timestamp
    let span: Double
    let left = 66.0
    let right = Charts.width - 20

    init(_ points: [Overview.Point]) {
      first = points.first?.started ?? Timestamp(seconds: 0)
      // Below a day there is no telling marks apart.
      span = Double(max(86400, (points.last?.started.seconds ?? 0).subtracting(saturating: first.seconds)))
    }

    func x(_ time: Timestamp) -> Double {
      let share = Double(time.seconds.subtracting(saturating: first.seconds)) / span
      return left + min(1, max(0, share)) * (right - left)
    }

    /// Days below a drawing, as many as there is room for.
    func marks(at y: Double) -> String {
      (0...5).map { step in
        let time = Timestamp(seconds: first.seconds.adding(saturating: Int64(saturating: span * Double(step) / 5)))
        let anchor = step == 0 ? "start" : step == 5 ? "end" : "middle"
        // Of a few days their hours, too.
        let text = String(span < 5 * 86400 ? Words.time(time).dropLast(3) : Words.time(time).prefix(10))
        return
          "<text class=\"axis\" x=\"\(HTML.number(x(time)))\" y=\"\(HTML.number(y))\" text-anchor=\"\(anchor)\">\(text)</text>"
      }.joined()
    }
  }

  private static func scale(_ largest: Int64, top: Double, bottom: Double, _ place: (Double) -> Double) -> String {
    [1.0, 0.5, 0.1].map { share in
      let y = HTML.number(bottom - place(share) * (bottom - top))
      return "<line class=\"grid\" x1=\"66\" x2=\"940\" y1=\"\(y)\" y2=\"\(y)\"/>"
        + "<text class=\"axis\" x=\"60\" y=\"\(y)\" text-anchor=\"end\" dominant-baseline=\"middle\">"
        + "\(Words.size(Int64(saturating: Double(largest) * share)))</text>"
    }.joined()
  }

  /// What each point added: the height is the square root, so that small ones are seen beside the full ones.
  static func added(_ points: [Overview.Point]) -> String {
    let axis = TimeAxis(points)
    let (top, bottom) = (14.0, 190.0)
    let largest = max(1, points.map(\.added).max() ?? 1)
    let bar = min(14, max(1.5, (axis.right - axis.left) / Double(max(1, points.count)) * 0.7))
    var content = scale(largest, top: top, bottom: bottom) { $0.squareRoot() }
    for point in points {
      let height = max(2, (Double(max(0, point.added)) / Double(largest)).squareRoot() * (bottom - top))
      let x = min(axis.right - bar, max(axis.left, axis.x(point.started) - bar / 2))
      content +=
        "<rect class=\"\(point.isDamaged ? "x" : letter(point.set.kind))\" x=\"\(HTML.number(x))\" y=\"\(HTML.number(bottom - height))\" width=\"\(HTML.number(bar))\" height=\"\(HTML.number(height))\"><title>\(Words.time(point.started)): \(Words.size(point.added))</title></rect>"
    }
    content += axis.marks(at: bottom + 18)
    return svg(216, "What each of \(points.count) points added, over time; the table below has the numbers", content)
  }

  /// How large the points were.
  static func sizes(_ points: [Overview.Point]) -> String {
    let axis = TimeAxis(points)
    let (top, bottom) = (14.0, 150.0)
    let largest = max(1, points.map(\.counts.bytes).max() ?? 1)
    let line = points.map { point in
      let y = bottom - Double(max(0, point.counts.bytes)) / Double(largest) * (bottom - top)
      return "\(HTML.number(axis.x(point.started))),\(HTML.number(y))"
    }.joined(separator: " ")
    let (first, last) = (HTML.number(axis.left), HTML.number(points.last.map { axis.x($0.started) } ?? axis.left))
    let content =
      scale(largest, top: top, bottom: bottom) { $0 }
      + "<polygon class=\"area\" points=\"\(first),\(Int(bottom)) \(line) \(last),\(Int(bottom))\"/>"
      + "<polyline class=\"curve\" points=\"\(line)\"/>" + axis.marks(at: bottom + 18)
    return svg(176, "Size of the points over time; the table above has the numbers", content)
  }

  // MARK: - Folders

  private struct Box {
    var x: Double
    var y: Double
    var width: Double
    var height: Double
  }

  /// The largest folders as areas, and what is large in them.
  static func folders(_ top: FolderSize) -> String {
    let box = Box(x: 0, y: 0, width: width, height: 420)
    return svg(420, "The largest folders as areas; the table below has the numbers", cells(top, in: box, level: 0))
  }

  private static func cells(_ folder: FolderSize, in box: Box, level: Int) -> String {
    var rest = folder.bytes
    for below in folder.folders { rest -= min(rest, below.bytes) }
    var parts = folder.folders.map { (folder: FolderSize?.some($0), bytes: $0.bytes) }
    if rest > 0 { parts.append((nil, rest)) }
    parts.sort { $0.bytes > $1.bytes }
    var content = ""
    for (part, place) in zip(parts, squarified(parts.map { Double($0.bytes) }, in: box)) {
      guard place.width >= 3, place.height >= 3 else { continue }
      content += cell(part.folder, part.bytes, in: place, level: level)
    }
    return content
  }

  private static func cell(_ folder: FolderSize?, _ bytes: Int64, in box: Box, level: Int) -> String {
    let name = folder.map { HTML.path($0.name) } ?? "files here, and small folders"
    let place =
      "x=\"\(HTML.number(box.x))\" y=\"\(HTML.number(box.y))\" width=\"\(HTML.number(box.width))\" height=\"\(HTML.number(box.height))\""
    var content =
      "<rect class=\"\(level % 2 == 0 ? "c" : "c2")\" \(place)><title>\(name): \(Words.size(bytes))</title></rect>"
    let isLabelled = box.width > 54 && box.height > 20
    if isLabelled {
      // A drawing of its own, so that what is too long is cut.
      content += "<svg class=\"t\" \(place)><text x=\"5\" y=\"15\">\(name) \(Words.size(bytes))</text></svg>"
    }
    if let folder, !folder.folders.isEmpty, level < 2, isLabelled, box.height > 44 {
      let inner = Box(x: box.x + 3, y: box.y + 21, width: box.width - 6, height: box.height - 24)
      content += cells(folder, in: inner, level: level + 1)
    }
    return content
  }

  /// Areas as near to squares as rows of them can be: Bruls, Huizing, van Wijk, "Squarified Treemaps", 2000.
  private static func squarified(_ sizes: [Double], in box: Box) -> [Box] {
    var (left, boxes, next) = (box, [Box](), 0)
    var rest = sizes.reduce(0, +)
    while next < sizes.count, rest > 0 {
      let side = min(left.width, left.height)
      let area = left.width * left.height / rest
      /// How far from a square the flattest of a row is.
      func worst(_ row: ArraySlice<Double>) -> Double {
        let thickness = max(row.reduce(0, +) * area / max(side, 1e-9), 1e-9)
        var worst = 1.0
        for size in row {
          let length = max(size * area / thickness, 1e-9)
          worst = max(worst, length / thickness, thickness / length)
        }
        return worst
      }
      var end = next + 1
      while end < sizes.count, worst(sizes[next...end]) <= worst(sizes[next..<end]) { end += 1 }
      let sum = sizes[next..<end].reduce(0, +)
      let thickness = sum * area / max(side, 1e-9)
      let isColumn = left.width >= left.height
      var position = isColumn ? left.y : left.x
      for size in sizes[next..<end] {
        let length = size / max(sum, 1e-9) * side
        boxes.append(
          isColumn
            ? Box(x: left.x, y: position, width: thickness, height: length)
            : Box(x: position, y: left.y, width: length, height: thickness))
        position += length
      }
      if isColumn {
        (left.x, left.width) = (left.x + thickness, max(0, left.width - thickness))
      } else {
        (left.y, left.height) = (left.y + thickness, max(0, left.height - thickness))
      }
      rest -= sum
      next = end
    }
    return boxes
  }
}
