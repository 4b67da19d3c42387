/// The point that a run builds on.
import Posix
import Storage
import Tar

struct PreviousPoint {
  let set: SetName
  private let series: Series
  let head: SetHead
  let foot: SetFoot
  let chain: [SetName]
  /// A run that ended well and saw everything wrote it: nothing was taken over, folded or carried.
  var isPlain: Bool { foot.incompleteAfter == nil && foot.counts.unseen == 0 && set.number == 1 }

  init(_ set: SetName, in series: Series) throws(Failure) {
    self.set = set
    self.series = series
    head = try series.head(set)
    foot = try series.foot(set)
    chain = try series.chain(of: set)
    // Without its archive, or with a part of it missing, nothing that builds on it can be restored.
    for set in chain {
      for volume in try series.foot(set).volumes {
        var size: Int64?
        do throws(StoreError) { size = try series.volumeSize(Bytes(volume.name.utf8)) } catch {
          // That says nothing about the archive.
          if error.isDriveFailure { throw Failure(error) }
        }
        if size != volume.storedSize {
          throw .damaged("\(volume.fileName) \(size == nil ? "is missing" : "has another size than its manifest says")")
        }
      }
    }
  }

  /// As it is asked for single paths, or for all of them.
  var before: PointBefore { PointBefore(series: series, chain: chain) }
}
