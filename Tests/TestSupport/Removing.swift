/// Removing a tree by its name in an open directory, however long the path to it is.
import Posix

extension Descriptor {
  func removeTree(_ name: Bytes) throws(SystemError) {
    if try status(of: name).kind != .directory { return try removeFile(name) }
    let directory = try open(name, [.read, .directory, .noFollow])
    for child in try directory.sortedNames() { try directory.removeTree(child) }
    try removeDirectory(name)
  }
}
