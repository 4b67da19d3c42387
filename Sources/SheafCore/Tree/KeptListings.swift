/// What one walk has listed, for another one of the same sources that comes right after it: a directory need not be
/// listed twice.
import Posix

final class KeptListings: Sendable {
  private struct Kept {
    let listing: Listing
    /// As the directory above told.
    let status: Status?
    let extent: Lister.Extent
  }
  private struct Shared {
    var directories: [Bytes: Kept] = [:]
    var entries = 0
  }

  /// Entries at the most, of about 200 bytes each. What is beyond them is listed again.
  private static let limit = 150_000
  private let shared = Monitor(Shared())

  /// `whole`: whatever its size, as somebody holds it anyway.
  func add(_ listing: Listing, _ status: Status?, _ extent: Lister.Extent, whole: Bool = false) {
    shared.look { s in
      guard whole || s.entries + listing.items.count < Self.limit else { return }
      s.entries += listing.items.count + 1
      s.directories[listing.path] = Kept(listing: listing, status: status, extent: extent)
    }
  }

  /// Takes what is kept of a directory; nil where it is another one by now.
  func take(_ path: Bytes, _ status: Status?, _ extent: Lister.Extent) -> Listing? {
    let kept = shared.look { s in s.directories.isEmpty ? nil : s.directories.removeValue(forKey: path) }
    guard let kept, kept.extent == extent, kept.status?.inode == status?.inode, kept.status?.device == status?.device
    else { return nil }
    return kept.listing
  }
}
