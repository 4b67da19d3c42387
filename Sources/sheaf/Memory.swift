/// Where this machine remembers the stores it has seen, and keeps what is slow to read: the XDG base directory
/// specification's places for state and for caches.
import Posix
import SheafCore

enum Memory {
  /// nil: there is no home directory.
  static let stores: KnownStores? = directory.map { KnownStores($0) }

  /// nil: there is no home directory.
  static let manifests: ManifestCache? = place("XDG_CACHE_HOME", ".cache").map { ManifestCache($0) }

  /// Where the keys of encrypted stores are kept; nil: there is no home directory.
  static let keys: Bytes? = configuration?.joined(Bytes("keys"))

  /// Where what the user says once and for all is kept; nil: there is no home directory.
  static var configuration: Bytes? { place("XDG_CONFIG_HOME", ".config") }

  static var directory: Bytes? { place("XDG_STATE_HOME", ".local/state") }

  private static func place(_ variable: StaticString, _ usual: String) -> Bytes? {
    if let place = Host.environment(variable), place.first == 47 { return place.joined(Bytes("sheaf")) }
    guard let home = Host.environment("HOME"), home.first == 47 else { return nil }
    return home.joined(Bytes("\(usual)/sheaf".utf8))
  }
}
