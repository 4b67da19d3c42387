/// What lies in a store beside its series.
import Posix

enum Layout {
  /// The file that makes a folder a store.
  static let marker = Bytes("sheaf.store")
  static let readme = Bytes("README.txt")
  static let script = Bytes("restore.sh")
  /// The folder with locked copies of the key.
  static let keys = Bytes("keys")
}
