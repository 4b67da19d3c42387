/// What was probably meant by a word that is not known.
import Posix

/// Known words that differ from `word` by a typing mistake or two, else those that begin with it.
public func nearestWords(to word: String, of known: [String]) -> [String] {
  let most = min(2, word.filter { $0 != "-" }.count / 3)
  let distances = known.map { (name: $0, distance: distance(Array(word.utf8), Array($0.utf8))) }
  guard let least = distances.map(\.distance).min(), least <= most else {
    return word.count < 3 ? [] : known.filter { $0.hasPrefix(word) }
  }
  return distances.filter { $0.distance == least }.map(\.name)
}

/// Names that a file system may take for one come out the same: without regard to case, to composed and decomposed
/// letters, and to dots and spaces at the end. Only for guessing which of several names was meant.
func foldedName(_ name: Bytes) -> String {
  var text = name.shown.lowercased()
  while let last = text.last, last == "." || last == " " { text.removeLast() }
  return text
}

/// Letters to be put in, left out, replaced, or exchanged with the next one (optimal string alignment).
private func distance(_ a: [UInt8], _ b: [UInt8]) -> Int {
  // No known word is longer.
  guard a.count < 64, b.count < 64 else { return .max }
  var rows = [Array(0...b.count)]
  for i in a.indices {
    var row = [i + 1]
    for j in b.indices {
      var best = min(rows[i][j + 1] + 1, row[j] + 1, rows[i][j] + (a[i] == b[j] ? 0 : 1))
      if i > 0, j > 0, a[i] == b[j - 1], a[i - 1] == b[j] { best = min(best, rows[i - 1][j - 1] + 1) }
      row.append(best)
    }
    rows.append(row)
  }
  return rows[a.count][b.count]
}
