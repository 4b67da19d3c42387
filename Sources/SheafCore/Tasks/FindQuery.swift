/// What a person looks for: a pattern, or a path in any of the forms in which it may have been shown.
import Posix

struct FindQuery {
  private let patterns: [Pattern]
  /// Where patterns with a slash in the middle begin.
  private let tops: [Bytes]
  /// Whole paths, and names where there is no slash: as they stand, whatever a pattern makes of their characters.
  private let paths: Set<Bytes>
  private let names: [Bytes]
  private let ignoresCase: Bool
  /// With a slash at the end, as a pattern has it.
  private let wantsDirectories: Bool

  /// `sources`: of all points, as absolute paths without the leading slash. Throws `usage` where the pattern cannot be
  /// used.
  init(_ given: Bytes, sources: [Bytes], ignoresCase: Bool) throws(Failure) {
    self.ignoresCase = ignoresCase
    wantsDirectories = given.last == 47
    func folded(_ bytes: Bytes) -> Bytes { ignoresCase ? bytes.lowercased : bytes }
    let text = folded(given)
    let sources = sources.map(folded)
    func unusable(_ reason: String) -> Failure {
      Failure(
        .usage, "the pattern '\(Show.path(given))' cannot be used: \(reason)",
        hint: "patterns are written as for backup's --exclude")
    }
    let pattern: Pattern
    do throws(PatternError) { pattern = try Pattern(text) } catch { throw unusable(error.reason) }
    if pattern.isNegated { throw unusable("'!' in front looks for nothing") }
    var patterns = [pattern]
    var tops = sources
    var paths: Set<Bytes> = []
    var names: [Bytes] = []
    for form in [text, Show.bytes(shown: given).map(folded)].compactMap({ $0 }) {
      let parts = form.split(separator: 47).filter { $0 != [46] }
      let path = Bytes(parts.joined(separator: [47]))
      guard let first = parts.first else { continue }
      paths.insert(path)
      if !form.dropLast().contains(47) { names.append(path) }
      guard parts.count > 1, form.first != 47 else { continue }
      // A path as it is shown, without the slash in front; and one that begins with a source's last name.
      if let rooted = try? Pattern([47] + form) { patterns.append(rooted) }
      for source in sources {
        let (parent, name) = source.splitAtName
        guard name == Bytes(first) else { continue }
        paths.insert(parent.joined(path))
        tops.append(parent)
      }
    }
    self.patterns = patterns
    self.tops = tops
    self.paths = paths
    self.names = names
  }

  /// Whether the entry `name` of `directory` is one that is looked for.
  func matches(directory: Bytes, name: UnsafeBufferPointer<UInt8>, isDirectory: Bool) -> Bool {
    guard ignoresCase else { return isLike(directory, name, isDirectory) }
    return Bytes(name).lowercased.withUnsafeBufferPointer { isLike(directory.lowercased, $0, isDirectory) }
  }

  private func isLike(_ directory: Bytes, _ name: UnsafeBufferPointer<UInt8>, _ isDirectory: Bool) -> Bool {
    let mayBeNamed = isDirectory || !wantsDirectories
    if mayBeNamed, names.contains(where: { $0.elementsEqual(name) }) { return true }
    if patterns.contains(where: {
      $0.matches(directory: directory, name: name, isDirectory: isDirectory, sources: tops)
    }) {
      return true
    }
    return mayBeNamed
      && paths.contains { path in
        path.count == directory.count + name.count + (directory.isEmpty ? 0 : 1)
          && path.suffix(name.count).elementsEqual(name) && path.starts(with: directory)
          && (directory.isEmpty || path[directory.count] == 47)
      }
  }
}

extension Bytes {
  /// In small letters where it is UTF-8; else those of ASCII.
  var lowercased: Bytes {
    func small(_ byte: UInt8) -> UInt8 { (65...90).contains(byte) ? byte + 32 : byte }
    if allSatisfy({ $0 < 0x80 }) { return map(small) }
    return String(validating: self, as: UTF8.self).map { Bytes($0.lowercased().utf8) } ?? map(small)
  }
}
