/// Answers what the kernel asks of a mounted file system, in the protocol that fuse(4) and `linux/fuse.h` describe.
///
/// Spoken here and not by libfuse: what a read-only file system needs of the protocol is little, the kernel keeps it
/// stable, and so nothing is linked to or looked for at run time, also in a static program on a rescue disk. Nodes are
/// asked for by numbers that whoever serves them can compute, so what the kernel looks up or forgets takes no memory here.
import CLinux
import Glibc
import Posix

public final class FuseServer: Sendable {
  private let mount: FuseMount
  private let files: any ServedFiles
  private let forOthers: Bool
  private let left = Monitor(0)

  /// Bytes of the largest request: the kernel hands out none to who offers less than 8192.
  private static let requestLimit = 64 << 10

  public init(_ mount: FuseMount, _ files: any ServedFiles, forOthers: Bool) {
    self.mount = mount
    self.files = files
    self.forOthers = forOthers
  }

  /// Starts answering, on so many threads.
  public func start(threads: Int) {
    left.look { $0 = threads }
    for _ in 0..<threads {
      _ = Thread { [self] in
        FuseWorker(files, forOthers: forOthers).serve(mount.device)
        left.change { $0 -= 1 }
      }
    }
  }

  /// Whether it was unmounted, by whomever.
  public var isUnmounted: Bool { left.look { $0 == 0 } }

  /// Sleeps for a moment, less where it is unmounted.
  public func rest() { if !isUnmounted { left.sleep(milliseconds: 100) } }

  static let bufferSize = requestLimit
}

/// One thread's way of answering.
private final class FuseWorker {
  private let files: any ServedFiles
  private let forOthers: Bool
  private let request: FuseMessage
  private let answer = FuseAnswer()

  /// How long the kernel may take for true what it was told, in seconds: what is saved stays as it is, but a point may go.
  private static let forGood: UInt64 = 3600
  private static let forNow: UInt64 = 1

  init(_ files: any ServedFiles, forOthers: Bool) {
    self.files = files
    self.forOthers = forOthers
    request = FuseMessage(capacity: FuseServer.bufferSize)
  }

  /// Until it is unmounted, or this process ends.
  func serve(_ device: Descriptor) {
    while true {
      // One thread alone is woken for a request.
      let count = read(device.raw, request.start, request.capacity)
      if count < 0 {
        // The one who asked was interrupted.
        if errno == EINTR || errno == ENOENT || errno == EAGAIN { continue }
        return
      }
      guard request.begin(count) else { continue }
      answer.begin()
      if respond() { send(to: device) }
    }
  }

  private func send(to device: Descriptor) {
    answer.finish(request.header.unique)
    // Who asked may be gone by now, which is no error.
    while write(device.raw, answer.start, answer.count) < 0, errno == EINTR {}
  }

  /// False: there is nothing to answer.
  private func respond() -> Bool {
    let opcode = fuse_opcode(request.header.opcode)
    switch opcode {
    case FUSE_FORGET, FUSE_BATCH_FORGET, FUSE_INTERRUPT: return false
    default: break
    }
    do throws(ServedError) {
      try respond(to: opcode)
    } catch { answer.fail(error.code) }
    return true
  }

  private func respond(to opcode: fuse_opcode) throws(ServedError) {
    let node = request.header.nodeid
    switch opcode {
    case FUSE_INIT: begin()
    case FUSE_DESTROY: break
    case FUSE_LOOKUP: try find(in: node)
    case FUSE_GETATTR:
      let status = try files.status(of: node)
      var out = fuse_attr_out()
      out.attr_valid = validity(status)
      out.attr = Self.attributes(status)
      answer.append(out)
    case FUSE_READLINK: answer.append(try files.target(of: node))
    case FUSE_OPEN:
      var out = fuse_open_out()
      out.fh = try files.open(node)
      out.open_flags = UInt32(FOPEN_KEEP_CACHE)
      answer.append(out)
    case FUSE_READ: try readFile()
    case FUSE_RELEASE:
      files.close(try request.take(fuse_release_in.self).fh)
    case FUSE_OPENDIR:
      var out = fuse_open_out()
      if files.isForGood(node) { out.open_flags = UInt32(FOPEN_KEEP_CACHE | FOPEN_CACHE_DIR) }
      answer.append(out)
    case FUSE_READDIR: try list(node, withStatus: false)
    case FUSE_READDIRPLUS: try list(node, withStatus: true)
    case FUSE_RELEASEDIR, FUSE_FLUSH, FUSE_FSYNC, FUSE_FSYNCDIR: break
    case FUSE_STATFS:
      var out = fuse_statfs_out()
      out.st.bsize = 4096
      out.st.frsize = 4096
      out.st.namelen = 255
      answer.append(out)
    case FUSE_GETXATTR: try attribute(of: node)
    case FUSE_LISTXATTR:
      let wanted = try request.take(fuse_getxattr_in.self).size
      var names = Bytes()
      for attribute in try files.attributes(of: node) { names += attribute.name + [0] }
      answerSized(names, wanted)
    case FUSE_LSEEK: try seek()
    default: answer.fail(ENOSYS)
    }
  }

  private func begin() {
    guard let asked = try? request.take(fuse_init_in.self), asked.major == FUSE_KERNEL_VERSION else {
      return answer.fail(EPROTO)
    }
    // What lists a folder mostly asks for all that is in it: told at once, that takes no look-up for each.
    var wanted = [
      FUSE_ASYNC_READ, FUSE_PARALLEL_DIROPS, FUSE_DO_READDIRPLUS, FUSE_MAX_PAGES,
      FUSE_CACHE_SYMLINKS,
    ].reduce(UInt32(0)) { $0 | UInt32(bitPattern: Int32(truncatingIfNeeded: $1)) }
    // Others have the rights that access lists give them, and no more.
    if forOthers { wanted |= UInt32(FUSE_POSIX_ACL) }
    var out = fuse_init_out()
    out.major = UInt32(FUSE_KERNEL_VERSION)
    out.minor = min(asked.minor, UInt32(FUSE_KERNEL_MINOR_VERSION))
    out.max_readahead = asked.max_readahead
    out.flags = asked.flags & wanted
    out.max_background = 16
    out.congestion_threshold = 12
    out.max_write = 4096
    out.time_gran = 1
    out.max_pages = 256
    answer.append(out)
  }

  private func validity(_ status: NodeStatus) -> UInt64 { status.isForGood ? Self.forGood : Self.forNow }

  private func entry(_ status: NodeStatus) -> fuse_entry_out {
    var out = fuse_entry_out()
    out.nodeid = status.inode
    out.entry_valid = validity(status)
    out.attr_valid = out.entry_valid
    out.attr = Self.attributes(status)
    return out
  }

  private static func attributes(_ status: NodeStatus) -> fuse_attr {
    var attr = fuse_attr()
    attr.ino = status.inode
    attr.size = UInt64(bitPattern: status.size)
    attr.blocks = UInt64(bitPattern: status.allocated / 512 + (status.allocated % 512 > 0 ? 1 : 0))
    attr.mtime = UInt64(bitPattern: status.modified.seconds)
    attr.mtimensec = UInt32(bitPattern: status.modified.nanoseconds)
    attr.atime = attr.mtime
    attr.atimensec = attr.mtimensec
    attr.ctime = UInt64(bitPattern: status.changed.seconds)
    attr.ctimensec = UInt32(bitPattern: status.changed.nanoseconds)
    attr.mode = status.kind.typeBits | UInt32(status.mode)
    attr.nlink = status.links
    attr.uid = status.uid
    attr.gid = status.gid
    // As the kernel packs it, new_encode_dev() in linux/kdev_t.h.
    attr.rdev = (status.minor & 0xff) | (status.major & 0xfff) << 8 | (status.minor & 0xfff00) << 12
    attr.blksize = 4096
    return attr
  }

  private func find(in node: UInt64) throws(ServedError) {
    if let status = try files.find(request.takeName(), in: node) { return answer.append(entry(status)) }
    var none = fuse_entry_out()
    none.entry_valid = files.isForGood(node) ? Self.forGood : Self.forNow
    answer.append(none)
  }

  private func readFile() throws(ServedError) {
    let asked = try request.take(fuse_read_in.self)
    guard let offset = Int64(exactly: asked.offset) else { throw .invalid }
    try files.read(asked.fh, from: offset, count: Int(min(asked.size, 4 << 20))) { answer.append($0) }
  }

  /// `linux/fuse.h`: each entry is padded to eight bytes, and one that does not fit any more is asked for again.
  private func list(_ node: UInt64, withStatus: Bool) throws(ServedError) {
    let asked = try request.take(fuse_read_in.self)
    let limit = Int(min(asked.size, 4 << 20))
    try files.list(node, from: asked.offset) { name, status, next in
      let fixed = MemoryLayout<fuse_dirent>.size + (withStatus ? MemoryLayout<fuse_entry_out>.size : 0)
      let length = (fixed + name.count + 7) / 8 * 8
      guard answer.bodyCount + length <= limit else { return false }
      if withStatus {
        let isDots = name == [46] || name == [46, 46]
        // Of these two the kernel knows already.
        answer.append(isDots ? fuse_entry_out() : entry(status))
      }
      // A `fuse_dirent`, which ends with a name of any length.
      answer.append(status.inode)
      answer.append(next)
      answer.append(UInt32(truncatingIfNeeded: name.count))
      answer.append(status.kind.typeBits >> 12)
      answer.append(name)
      answer.appendZeros(length - fixed - name.count)
      return true
    }
  }

  private func attribute(of node: UInt64) throws(ServedError) {
    let wanted = try request.take(fuse_getxattr_in.self).size
    let name = try request.takeName()
    guard let found = try files.attributes(of: node).first(where: { $0.name == name }) else { throw .noAttribute }
    answerSized(found.value, wanted)
  }

  /// Who asks with no room wants to know how much it takes.
  private func answerSized(_ value: Bytes, _ wanted: UInt32) {
    if wanted == 0 {
      var out = fuse_getxattr_out()
      out.size = UInt32(truncatingIfNeeded: value.count)
      answer.append(out)
    } else if value.count > Int(wanted) {
      answer.fail(ERANGE)
    } else {
      answer.append(value)
    }
  }

  private func seek() throws(ServedError) {
    let asked = try request.take(fuse_lseek_in.self)
    // SEEK_DATA and SEEK_HOLE; the kernel sees to all others.
    guard let offset = Int64(exactly: asked.offset), asked.whence == 3 || asked.whence == 4 else { throw .invalid }
    guard let found = try files.next(data: asked.whence == 3, in: asked.fh, from: offset) else {
      return answer.fail(ENXIO)
    }
    var out = fuse_lseek_out()
    out.offset = UInt64(bitPattern: found)
    answer.append(out)
  }
}

extension ServedError {
  fileprivate var code: Int32 {
    switch self {
    case .noEntry: ENOENT
    case .notDirectory: ENOTDIR
    case .isDirectory: EISDIR
    case .noAttribute: ENODATA
    case .invalid: EINVAL
    case .notOpen: EBADF
    case .unreadable: EIO
    }
  }
}
