/// A table of a plan's file, whose keys are asked for by name and kind. What was not asked for is unknown.
import Posix
import SheafCore

final class PlanTable {
  /// What is wrong, in all the tables of a file.
  final class Mistakes {
    var all: [PlanMistake] = []
    private let lines: [Int]
    private let text: Bytes

    init(_ text: Bytes) {
      self.text = text
      lines = [0] + text.indices.filter { text[$0] == 10 }.map { $0 + 1 }
    }

    func position(_ offset: Int) -> Position {
      var (low, high) = (0, lines.count)
      while low + 1 < high {
        let middle = (low + high) / 2
        if lines[middle] <= offset { low = middle } else { high = middle }
      }
      let line = text[lines[low]..<min(max(offset, lines[low]), text.count)]
      // Every byte of UTF-8 but those that go on begins a character.
      return Position(line: low + 1, column: line.count { $0 & 0xc0 != 0x80 } + 1)
    }

    func add(_ offset: Int, _ message: String, hint: String? = nil) {
      all.append(PlanMistake(at: position(offset), message, hint: hint))
    }
  }

  let table: TOMLTable
  /// As messages name it; empty: the whole file.
  let name: String
  let offset: Int
  let mistakes: Mistakes
  private var asked: Set<Bytes> = []

  init(_ table: TOMLTable, name: String, at offset: Int, _ mistakes: Mistakes) {
    (self.table, self.name, self.offset, self.mistakes) = (table, name, offset, mistakes)
  }

  private func entry(_ key: String) -> TOMLTable.Entry? {
    asked.insert(Bytes(key.utf8))
    return table[Bytes(key.utf8)]
  }

  func position(_ key: String) -> Position { mistakes.position(table[Bytes(key.utf8)]?.offset ?? offset) }

  /// Says what keys are there that nobody asked for.
  func finish() {
    for entry in table.entries where !asked.contains(entry.key) {
      let near = nearestWords(to: entry.key.shown, of: asked.map(\.shown).sorted())
      let all = asked.map(\.shown).sorted().joined(separator: ", ")
      mistakes.add(
        entry.offset, "unknown key '\(Show.path(entry.key))'\(name.isEmpty ? "" : " in \(name)")",
        hint: near.isEmpty ? "known are: \(all)" : "did you mean \(near.joined(separator: " or "))?")
    }
  }

  // MARK: - Values

  private func wrong(_ node: TOMLNode, _ key: String, wanted: String) {
    mistakes.add(node.offset, "'\(key)' is \(wanted), and this is \(node.value.kind)")
  }

  private func setting(_ key: String, _ value: Setting.Value, _ node: TOMLNode) -> Setting {
    Setting(key, value, at: mistakes.position(node.offset))
  }

  private func text(_ key: String, _ node: TOMLNode, wanted: String = "a text") -> Setting? {
    guard case .string(let text) = node.value else {
      wrong(node, key, wanted: wanted)
      return nil
    }
    guard !text.isEmpty, !text.contains(0) else {
      mistakes.add(node.offset, "'\(key)' is \(text.isEmpty ? "empty" : "a text with a zero byte")")
      return nil
    }
    return setting(key, .text(text), node)
  }

  func text(_ key: String) -> Setting? { entry(key).flatMap { text(key, $0.node) } }

  /// One line without control characters.
  func line(_ key: String) -> Setting? {
    guard let entry = entry(key), let found = text(key, entry.node) else { return nil }
    if !found.word.contains(where: { $0 < 32 || $0 == 127 }) { return found }
    mistakes.add(entry.node.offset, "'\(key)' holds a line break or another control character")
    return nil
  }

  /// A list of texts, or one alone.
  func texts(_ key: String) -> [Setting] {
    guard let entry = entry(key) else { return [] }
    guard case .array(let list) = entry.node.value else {
      return text(key, entry.node, wanted: "a text or a list of texts").map { [$0] } ?? []
    }
    return list.compactMap { text(key, $0) }
  }

  func flag(_ key: String) -> Setting? {
    guard let entry = entry(key) else { return nil }
    guard case .boolean(let isSet) = entry.node.value else {
      wrong(entry.node, key, wanted: "true or false, without quotes")
      return nil
    }
    return setting(key, .flag(isSet), entry.node)
  }

  func number(_ key: String, in range: ClosedRange<Int>) -> Setting? {
    guard let entry = entry(key) else { return nil }
    guard case .integer(let number) = entry.node.value else {
      wrong(entry.node, key, wanted: "a number from \(range.lowerBound) to \(range.upperBound)")
      return nil
    }
    guard Int(exactly: number).map(range.contains) == true else {
      mistakes.add(entry.node.offset, "'\(key)' goes from \(range.lowerBound) to \(range.upperBound)")
      return nil
    }
    return setting(key, .number(number), entry.node)
  }

  func choice(_ key: String, _ words: [String]) -> Setting? {
    guard let entry = entry(key) else { return nil }
    let all = words.map { "\"\($0)\"" }.joined(separator: " or ")
    guard let found = text(key, entry.node, wanted: all) else { return nil }
    if words.contains(found.word.shown) { return found }
    mistakes.add(entry.node.offset, "'\(key)' is \(all), and not '\(Show.path(found.word))'")
    return nil
  }

  /// Text, or a number, that stands for a quantity; `example` shows how it is written.
  private func quantity(_ key: String, _ example: String, takesNumbers: Bool, _ isOne: (String) -> Bool) -> Setting? {
    guard let entry = entry(key) else { return nil }
    let found: Setting?
    if takesNumbers, case .integer(let number) = entry.node.value {
      found = setting(key, .number(number), entry.node)
    } else {
      found = text(key, entry.node, wanted: example)
    }
    guard let found else { return nil }
    if isOne(found.word.shown) { return found }
    mistakes.add(entry.node.offset, "'\(key)' is \(example), and not '\(Show.path(found.word))'")
    return nil
  }

  func share(_ key: String) -> Setting? {
    quantity(key, "a part in percent like \"5%\"", takesNumbers: true) { Share($0) != nil }
  }

  func size(_ key: String, atLeast least: Int64 = 0) -> Setting? {
    let found = quantity(key, "a size like \"500k\", \"10M\" or \"4.5G\"", takesNumbers: true) { Size($0) != nil }
    guard let found, let size = Size(found.word.shown), size.bytes < least else { return found }
    mistakes.add(entry(key)?.node.offset ?? offset, "'\(key)' is at least \(Show.size(least))")
    return nil
  }

  func age(_ key: String) -> Setting? {
    quantity(key, "an age like \"12h\", \"30d\" or \"1m14d\"", takesNumbers: false) { Age($0) != nil }
  }

  func time(_ key: String) -> Setting? {
    quantity(key, "a time like \"90s\", \"15m\" or \"2h\"", takesNumbers: true) { (Duration($0)?.seconds ?? 0) > 0 }
  }

  func seconds(_ key: String) -> Int? { time(key).flatMap { Duration($0.word.shown)?.seconds } }

  func keepCount(_ key: String) -> Setting? {
    quantity(key, "a number of points, or \"all\"", takesNumbers: true) { (KeepCount($0)?.count ?? -1) >= 0 }
  }

  /// A file or folder, by a path that does not depend on where one is.
  func path(_ key: String) -> Setting? { text(key).flatMap { isWhole($0) ? $0 : nil } }
  func paths(_ key: String) -> [Setting] { texts(key).filter(isWhole) }

  func isWhole(_ setting: Setting) -> Bool {
    let path = setting.word
    if path.first == 47 || path.starts(with: Bytes("~/")) { return true }
    mistakes.all.append(
      PlanMistake(at: setting.at, "\(Show.path(path)) is no absolute path", hint: "write it from '/' or '~/' on"))
    return false
  }

  // MARK: - Tables

  private func inner(_ entry: TOMLTable.Entry, _ words: String) -> PlanTable? {
    guard case .table(let found) = entry.node.value else {
      wrong(entry.node, entry.key.shown, wanted: "a table")
      return nil
    }
    return PlanTable(found, name: words, at: entry.offset, mistakes)
  }

  func table(_ key: String) -> PlanTable? {
    entry(key).flatMap { inner($0, name.isEmpty ? "'\(key)'" : "'\(key)' of \(name)") }
  }

  /// The tables in a table, by their own names, as `[plans.home]` in `plans`.
  func named(_ key: String, _ noun: String) -> [(name: String, table: PlanTable)] {
    guard let all = table(key) else { return [] }
    return all.table.entries.compactMap { entry in
      let name = entry.key.shown
      guard Self.isName(name) else {
        mistakes.add(
          entry.offset, "'\(Show.path(entry.key))' cannot be the name of a \(noun)",
          hint: "up to 64 letters of the English alphabet, digits, '-', '_' and '.', and no '-' or '.' at the beginning"
        )
        return nil
      }
      return inner(entry, "\(noun) '\(name)'").map { (name, $0) }
    }
  }

  /// Fit for the names of files and of units.
  static func isName(_ name: String) -> Bool {
    name.utf8.count <= 64 && !name.isEmpty && name.first != "-" && name.first != "."
      && name.utf8.allSatisfy { byte in
        switch byte {
        case 48...57, 65...90, 97...122, 45, 46, 95: true
        default: false
        }
      }
  }

  /// Texts by their names, in a table of their own.
  func pairs(_ key: String) -> [(Setting, Setting)] {
    guard let all = table(key) else { return [] }
    return all.table.entries.compactMap { entry in
      guard !entry.key.isEmpty, !entry.key.contains(0) else {
        mistakes.add(entry.offset, "a name is empty or has a zero byte")
        return nil
      }
      let name = Setting(key, .text(entry.key), at: mistakes.position(entry.offset))
      return text(entry.key.shown, entry.node, wanted: "a command").map { (name, $0) }
    }
  }

  /// A list whose elements are tables, or texts.
  func elements(_ key: String, _ words: String) -> [(text: Setting?, table: PlanTable?)] {
    guard let entry = entry(key) else { return [] }
    let nodes: [TOMLNode]
    if case .array(let list) = entry.node.value { nodes = list } else { nodes = [entry.node] }
    return nodes.map { node in
      if case .table(let found) = node.value {
        return (nil, PlanTable(found, name: words, at: node.offset, mistakes))
      }
      return (text(key, node, wanted: "a list of texts or tables"), nil)
    }
  }
}
