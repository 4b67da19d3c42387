/// Points that no rule takes away: an empty file beside a point's sets, whose name says it all, since contents may not
/// fit on a full drive.
import Posix

extension Series {
  private static let mark = ".protected"

  /// The points that are protected.
  public func protectedPoints() throws(Failure) -> Set<String> {
    var points: Set<String> = []
    for name in try system({ () throws(SystemError) in try directory.sortedNames() }) {
      let text = name.shown
      let point = String(text.prefix(18))
      if text == point + Self.mark, PointName.time(point) != nil { points.insert(point) }
    }
    return points
  }

  private static let dropped = ".dropped"

  /// Whether somebody let the point go by name, rather than the store being set back to before it.
  func wasDropped(_ point: String) -> Bool {
    (try? directory.status(of: Bytes((point + Self.dropped).utf8))) != nil
  }

  /// Leaves a note of points that go and are the newest, so that no machine that saw them takes the store for one that
  /// was set back. Only under the series' lock.
  func markDropped(_ going: [SetName]) throws(Failure) {
    guard let staying = try sets().last(where: { !going.contains($0) }) else { return }
    for set in going where set.point > staying.point {
      // An empty file; where the drive has no room for a name, nothing is lost but a warning.
      try? directory.open(Bytes((set.point + Self.dropped).utf8), [.write, .create, .noFollow]).close()
    }
  }

  /// False: it was so already.
  public func protect(_ point: String) throws(Failure) -> Bool {
    try changeProtection { () throws(SystemError) in
      do throws(SystemError) {
        try directory.open(Bytes((point + Self.mark).utf8), [.write, .create, .exclusive, .noFollow]).close()
        return true
      } catch {
        guard error.isExisting else { throw error }
        return false
      }
    }
  }

  /// False: it was not protected.
  public func unprotect(_ point: String) throws(Failure) -> Bool {
    try changeProtection { () throws(SystemError) in
      do throws(SystemError) {
        try directory.removeFile(Bytes((point + Self.mark).utf8))
        return true
      } catch {
        guard error.isMissing else { throw error }
        return false
      }
    }
  }

  private func changeProtection(_ body: () throws(SystemError) -> Bool) throws(Failure) -> Bool {
    let lock = try SeriesLock(self)
    defer { lock.release() }
    return try system { () throws(SystemError) in
      let isNew = try body()
      try directory.sync(directory: true)
      return isNew
    }
  }
}
