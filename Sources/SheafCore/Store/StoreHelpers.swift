/// What lies on a store beside its series: `README.txt` and `restore.sh` for those who have no Sheaf, and the page of
/// `report`.
import Posix
import Storage
import StoreFiles

extension Store {
  func publish(_ name: Bytes, _ text: Bytes, isProgram: Bool = false) throws(Failure) {
    try stored { () throws(StoreError) in
      let file = NewStoredFile(name, in: folder)
      try file.append(text)
      try file.finish()
      // Whoever may read it may run it; not every store knows modes.
      if isProgram { _ = folder.mendAccess(of: file.partial, isProgram: true) }
      try file.publish()
    }
  }

  static let page = Bytes("index.html")

  /// Puts a page that shows the store on it, in the place of the one before, which is known by having `mark` near its
  /// beginning. Gives its path. Throws where something else has that name.
  public func write(page text: Bytes, marked mark: Bytes) throws(Failure) -> Bytes {
    let place = path.joined(Self.page)
    let isThere = try stored { () throws(StoreError) in try folder.names() }.contains(Self.page)
    if isThere {
      let beginning = try? folder.open(Self.page).read(count: 4096, at: 0)
      guard beginning?.holds(mark) == true else {
        throw Failure(
          .failed, "\(Show.path(place)) is there already, and is no page of sheaf's",
          hint: "name another file with -o FILE")
      }
    }
    try stored { () throws(StoreError) in
      let file = NewStoredFile(Self.page, in: folder)
      try file.append(text)
      try file.finish()
      if isThere { try folder.remove(Self.page) }
      try file.publish()
    }
    return place
  }

  /// What lies on the store for those who have no Sheaf.
  private struct Helper {
    let name: Bytes
    let text: Bytes
    var isProgram = false

    var new: Bytes { name + Bytes(".new") }
    var old: Bytes { name + Bytes(".old") }
    /// Names on the way to another text; only what was interrupted leaves them.
    var passing: [Bytes] { [name, new].map { $0 + NewStoredFile.partialSuffix } + [new, old] }
  }

  private static let helpers = [
    Helper(name: Layout.readme, text: StoreFiles.readme),
    Helper(name: Layout.script, text: StoreFiles.script, isProgram: true),
  ]

  /// nil where it cannot be read.
  private func text(of helper: Helper) -> Bytes? {
    if let ahead = textsAhead.look({ $0.removeValue(forKey: helper.name) }) { return ahead.value }
    return try? folder.contents(helper.name, atMost: helper.text.count + 1)
  }

  /// Has the helpers of a far store read, which `refreshHelpers` will want to see.
  func readHelpersAhead() {
    guard folder.traits.isFar else { return }
    for helper in Self.helpers {
      let text = Ahead { [folder] in try? folder.contents(helper.name, atMost: helper.text.count + 1) }
      textsAhead.look { $0[helper.name] = text }
    }
  }

  /// Writes `README.txt` and `restore.sh` where they are missing or not what this version writes, and tidies up where
  /// that was interrupted. Only where no one else is at it.
  func refreshHelpers() throws(Failure) {
    let names = Set(try stored { () throws(StoreError) in try folder.names() })
    let isTidy = Self.helpers.allSatisfy { text(of: $0) == $0.text && names.isDisjoint(with: $0.passing) }
    if isTidy, !names.contains(where: LockHolder.isLock) { return }
    let lock: SeriesLock
    do throws(Failure) { lock = try SeriesLock(folder, "the store", store: path) } catch {
      if error.kind == .locked { return }
      throw error
    }
    defer { lock.release() }
    try writeHelpers()
  }

  /// Writes them for a new store.
  func writeFirstHelpers() throws(Failure) {
    for helper in Self.helpers {
      guard let there = try? folder.item(helper.name) else { continue }
      // What an earlier attempt wrote may stay; nobody else's file is taken away.
      guard there.kind == .file, text(of: helper) == helper.text else {
        throw Failure(
          .failed, "there is a file \(Show.path(path.joined(helper.name))) already",
          hint: "make the store in a directory of its own, or move that file")
      }
    }
    try writeHelpers()
  }

  private func writeHelpers() throws(Failure) {
    for helper in Self.helpers {
      if text(of: helper) != helper.text {
        // By new, old, final: exFAT and FAT do not rename over an existing name in one step. At each moment one of the
        // three is whole.
        if !folder.traits.renames {
          // It replaces in one step.
          try stored { () throws(StoreError) in
            let file = try folder.begin(helper.name)
            try file.append(helper.text)
            try file.finish()
          }
        } else if folder.has(helper.name) {
          for name in [helper.new, helper.old] { try? folder.remove(name) }
          try publish(helper.new, helper.text, isProgram: helper.isProgram)
          try stored { () throws(StoreError) in
            try folder.rename(helper.name, to: helper.old)
            try folder.rename(helper.new, to: helper.name)
            try folder.sync()
          }
        } else {
          try publish(helper.name, helper.text, isProgram: helper.isProgram)
        }
      }
      for name in helper.passing where folder.has(name) {
        try stored { () throws(StoreError) in try folder.remove(name) }
      }
    }
  }
}
