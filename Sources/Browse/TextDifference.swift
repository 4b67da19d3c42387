/// What differs between two texts, line by line, as `diff -u` shows it.
import Posix

struct TextDifference {
  private enum Step { case same, removed, added }

  private let old: [ArraySlice<UInt8>]
  private let new: [ArraySlice<UInt8>]
  private let steps: [Step]

  /// Lines around what differs.
  private static let context = 3
  /// Pairs of lines that are compared: what differs more is shown as all of one and all of the other.
  private static let limit = 4_000_000

  /// nil where one of them is no text.
  init?(from old: Bytes, to new: Bytes) {
    guard !old.contains(0), !new.contains(0) else { return nil }
    self.old = Self.lines(old)
    self.new = Self.lines(new)
    steps = Self.steps(self.old, self.new)
  }

  private static func lines(_ text: Bytes) -> [ArraySlice<UInt8>] {
    let lines = text.split(separator: 10, omittingEmptySubsequences: false)
    return text.last == 10 || text.isEmpty ? lines.dropLast() : lines
  }

  private static func steps(_ old: [ArraySlice<UInt8>], _ new: [ArraySlice<UInt8>]) -> [Step] {
    let head = zip(old, new).prefix { $0 == $1 }.count
    let tail = zip(old.dropFirst(head).reversed(), new.dropFirst(head).reversed()).prefix { $0 == $1 }.count
    let (left, right) = (old[head..<(old.count - tail)], new[head..<(new.count - tail)])
    var middle: [Step] = []
    if left.count * right.count > limit {
      middle = left.map { _ in .removed } + right.map { _ in .added }
    } else {
      let changes = Array(right).difference(from: Array(left))
      var removed: Set<Int> = []
      var added: Set<Int> = []
      for change in changes {
        switch change {
        case .remove(let place, _, _): removed.insert(place)
        case .insert(let place, _, _): added.insert(place)
        }
      }
      var (l, r) = (0, 0)
      while l < left.count || r < right.count {
        if removed.contains(l) {
          middle.append(.removed)
          l += 1
        } else if added.contains(r) {
          middle.append(.added)
          r += 1
        } else {
          middle.append(.same)
          (l, r) = (l + 1, r + 1)
        }
      }
    }
    return Array(repeating: .same, count: head) + middle + Array(repeating: .same, count: tail)
  }

  /// Empty where nothing differs.
  var text: Bytes {
    var shown = Array(repeating: false, count: steps.count)
    for (place, step) in steps.enumerated() where step != .same {
      for near in max(0, place - Self.context)...min(steps.count - 1, place + Self.context) { shown[near] = true }
    }
    var text = Bytes()
    var (l, r) = (0, 0)
    for (place, step) in steps.enumerated() {
      if shown[place] {
        if place == 0 || !shown[place - 1] { text += Bytes("@@ from line \(l + 1), now \(r + 1)\n".utf8) }
        switch step {
        case .same: text += Bytes("  ") + new[r]
        case .removed: text += Bytes("- ") + old[l]
        case .added: text += Bytes("+ ") + new[r]
        }
        text.append(10)
      }
      if step != .added { l += 1 }
      if step != .removed { r += 1 }
    }
    return text
  }
}
