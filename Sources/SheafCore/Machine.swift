/// Which machine this is: an identity that outlives restarts and changes of the host's name, and tells nobody the one
/// that machine-id(5) asks to keep.
import Posix
import Tar

enum Machine {
  /// 32 hexadecimal digits; nil where the machine has no identity.
  static let identity: Bytes? = Host.machineIdentity().map { id in
    // Salted for this program, as machine-id(5) wants it: from what is written nobody learns the machine's own.
    let text = Bytes("sheaf machine ") + id
    let hasher = SHA256()
    text.withUnsafeBytes { hasher.update($0.baseAddress!, $0.count) }
    return Bytes(hasher.finish().hex.utf8.prefix(32))
  }
}
