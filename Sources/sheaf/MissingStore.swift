/// What helps where no store is: this machine may know which one was there.
import Posix
import SheafCore

extension StoreLocation {
  /// Opens the store at this place. `offersNew`: where none was, one may be made.
  func opening(offersNew: Bool = false, _ open: () throws -> Store) throws -> Store {
    do { return try open() } catch let failure as Failure {
      guard failure.kind == .noStore, failure.hint == nil, failure.cause == nil else { throw failure }
      throw Failure(.noStore, failure.message, hint: advice(offersNew))
    }
  }

  private func advice(_ offersNew: Bool) -> String {
    let known = Memory.stores?.seen(at: self) ?? []
    if let last = known.first {
      let seen = known.prefix(3).map { "'\($0.shownName)' was here \(Words.ago($0.seen))" }.joined(separator: ", ")
      if isRemote { return "\(seen): is its drive mounted on that machine?" }
      if let place = last.whereabouts(drives: Host.drives(), asking: nil).place {
        return "'\(last.shownName)' is elsewhere now: -s \(Show.word(place))"
      }
      return "\(seen): plug \(known.count == 1 ? "it" : "one of them") in"
    }
    if let named = Memory.stores?.all().first(where: { !$0.label.isEmpty && $0.label == text }) {
      let place = named.whereabouts(drives: Host.drives(), asking: nil).place
      return place.map { "'\(named.shownName)' is a store's label: -s \(Show.word($0))" }
        ?? "'\(named.shownName)' is a store's label: plug its drive in, and name the folder"
    }
    let question = isRemote ? "is that the right place?" : "is the drive mounted?"
    return offersNew
      ? "\(question) 'sheaf init -s \(Show.word(text))' makes a new store"
      : "\(question) 'sheaf status' shows which stores this machine has seen"
  }
}

extension KnownStore {
  var shownName: String { label.isEmpty ? "store \(uuid.prefix(8))" : Show.path(label) }
}
