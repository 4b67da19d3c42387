/// What was meant where there is no store: the folder of a series in one, or the drive that one lies on.
import Posix
import Storage

extension StoreLocation {
  /// What was probably meant where no store is at `path`; nil: nothing like it is there.
  static func hint(missing path: Bytes) -> String? {
    if isRemote(path) { return nil }
    if let (store, series) = storeAbove(path) {
      return "it is a folder of the store at \(Show.path(store)): -s \(Show.word(store)) --series \(Show.word(series))"
    }
    let below = storesBelow(path)
    return below.isEmpty ? nil : "did you mean \(below.map { "-s \(Show.word($0))" }.joined(separator: " or "))?"
  }

  /// The store that `path` lies in, and the series there.
  private static func storeAbove(_ path: Bytes) -> (store: Bytes, series: Bytes)? {
    guard let whole = try? Host.resolved(path), let store = Store.nearest(above: whole.splitAtName.parent) else {
      return nil
    }
    return (store, Bytes(whole.dropFirst(store.count + 1).prefix { $0 != 47 }))
  }

  /// Up to three stores among the folders that lie right in `path`.
  private static func storesBelow(_ path: Bytes) -> [Bytes] {
    guard let names = try? LocalFolder(path).names() else { return [] }
    let folder = path.last == 47 ? Bytes(path.dropLast()) : path
    return names.sorted { $0.lexicographicallyPrecedes($1) }.prefix(200).map { folder.joined($0) }
      .lazy.filter { Store.isMade(in: $0) }.prefix(3).map { $0 }
  }
}
