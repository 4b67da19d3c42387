/// Where this machine remembers the stores it has seen: the XDG base directory specification's place for state.
import Posix
import SheafCore

enum Memory {
  /// nil: there is no home directory.
  static let stores: KnownStores? = directory.map { KnownStores($0) }

  private static var directory: Bytes? {
    if let state = Host.environment("XDG_STATE_HOME"), state.first == 47 { return state.joined(Bytes("sheaf")) }
    guard let home = Host.environment("HOME"), home.first == 47 else { return nil }
    return home.joined(Bytes(".local/state/sheaf"))
  }
}
