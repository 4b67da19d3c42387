/// Points that no rule takes away: an empty file beside a point's sets, whose name says it all, since contents may not
/// fit on a full drive.
import Posix
import Storage

extension Series {
  private static let suffix = ".protected"

  /// The points that are protected.
  public func protectedPoints() throws(Failure) -> Set<String> {
    var points: Set<String> = []
    for name in try stored({ () throws(StoreError) in try folder.names() }) {
      let text = name.shown
      let point = String(text.prefix(18))
      if text == point + Self.suffix, PointName.time(point) != nil { points.insert(point) }
    }
    return points
  }

  private static let dropped = ".dropped"

  /// Whether somebody let the point go by name, rather than the store being set back to before it.
  func wasDropped(_ point: String) -> Bool {
    folder.has(Bytes((point + Self.dropped).utf8))
  }

  /// Leaves a note of points that go and are the newest, so that no machine that saw them takes the store for one that
  /// was set back. Only under the series' lock.
  func markDropped(_ going: [SetName]) throws(Failure) {
    guard let staying = try sets().last(where: { !going.contains($0) }) else { return }
    for set in going where set.point > staying.point {
      // An empty file; where the drive has no room for a name, nothing is lost but a warning.
      try? folder.mark(Bytes((set.point + Self.dropped).utf8))
    }
  }

  /// False: it was so already.
  public func protect(_ point: String) throws(Failure) -> Bool {
    try changeProtection { () throws(StoreError) in
      do throws(StoreError) {
        try folder.mark(Bytes((point + Self.suffix).utf8))
        return true
      } catch {
        guard error.kind == .exists else { throw error }
        return false
      }
    }
  }

  /// False: it was not protected.
  public func unprotect(_ point: String) throws(Failure) -> Bool {
    try changeProtection { () throws(StoreError) in
      do throws(StoreError) {
        try folder.remove(Bytes((point + Self.suffix).utf8))
        return true
      } catch {
        guard error.kind == .missing else { throw error }
        return false
      }
    }
  }

  private func changeProtection(_ body: () throws(StoreError) -> Bool) throws(Failure) -> Bool {
    let lock = try SeriesLock(self)
    defer { lock.release() }
    return try stored { () throws(StoreError) in
      let isNew = try body()
      try folder.sync()
      return isNew
    }
  }
}
