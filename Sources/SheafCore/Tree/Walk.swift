/// Walks the sources directory by directory, in order. Threads of its own list directories ahead of the one who asks,
/// in about the order they will be asked for; so the walk is parallel and still sorted.
import Posix

/// Not for use from several threads.
final class Walk {
  /// A directory to be listed.
  private final class Node: @unchecked Sendable {
    enum State { case waiting, taken, done }
    let path: Bytes
    /// As the directory above it tells; nil for the root.
    let status: Status?
    let extent: Lister.Extent
    /// Guarded by the walk's monitor.
    var state = State.waiting
    var listing: Listing?
    var children: [Node] = []

    init(_ path: Bytes, _ status: Status?, _ extent: Lister.Extent) {
      self.path = path
      self.status = status
      self.extent = extent
    }
  }

  private struct Shared {
    /// The next to be listed ahead is last.
    var waiting: [Node] = []
    /// Entries listed and not yet asked for.
    var ahead = 0
    var stopped = false
    /// Who sleeps, so that no one is woken for nothing.
    var asker = false
    var idle = 0
  }

  /// What is in it is not listed.
  private let known = KeptListings()

  /// What was given last.
  private var current: (listing: Listing, status: Status?, extent: Lister.Extent)?
  private let lister: Lister
  private let keeping: KeptListings?
  private let shared = Monitor(Shared())
  private var threads: [Thread] = []
  /// The next to be given is last.
  private var stack: [Node]
  /// Entries listed ahead at the most, and at how few those who list go on.
  private static let limit = 20_000
  private static let resume = 10_000

  /// `other`: a walk of the same sources that goes on when this one has ended. Neither lists what the other has listed,
  /// but for what that one has passed.
  init(_ lister: Lister, threads count: Int, beside other: Walk? = nil) {
    self.lister = lister
    keeping = other?.known
    if let current = other?.current { known.add(current.listing, current.status, current.extent, whole: true) }
    let root = Node([], nil, .whole)
    stack = [root]
    shared.change { $0.waiting.append(root) }
    for _ in 0..<count {
      threads.append(Thread { [shared, lister, known] in Self.listAhead(shared, lister, known) })
    }
  }

  deinit {
    shared.change { $0.stopped = true }
    for thread in threads { thread.join() }
  }

  /// The next directory; nil after the last.
  func next() -> (listing: Listing, status: Status?)? {
    current = nil
    guard let node = stack.popLast() else { return nil }
    var wakes = false
    let mine = shared.wait(changes: false) { s -> Bool? in
      s.asker = false
      switch node.state {
      case .waiting:
        node.state = .taken
        return true
      case .taken:
        s.asker = true
        return nil
      case .done:
        let before = s.ahead
        s.ahead -= node.listing!.items.count + 1
        wakes = s.idle > 0 && before >= Self.resume && s.ahead < Self.resume
        return false
      }
    }
    if mine {
      let (listing, children) = Self.list(node, lister, known)
      node.listing = listing
      node.children = children
      wakes = shared.look { s in
        s.waiting.append(contentsOf: children.reversed())
        return s.idle > 0 && !children.isEmpty
      }
    }
    if wakes { shared.wake() }
    stack.append(contentsOf: node.children.reversed())
    let listing = node.listing!
    node.listing = nil
    keeping?.add(listing, node.status, node.extent)
    current = (listing, node.status, node.extent)
    return (listing, node.status)
  }

  private static func listAhead(_ shared: Monitor<Shared>, _ lister: Lister, _ known: KeptListings) {
    var isFull = false
    while true {
      let node: Node? = shared.wait(changes: false) { s -> Node?? in
        if s.stopped { return .some(nil) }
        isFull = s.ahead >= (isFull ? resume : limit)
        if !isFull {
          while let node = s.waiting.popLast() {
            guard node.state == .waiting else { continue }
            node.state = .taken
            return .some(node)
          }
        }
        s.idle += 1
        return nil
      }
      guard let node else { return }
      let (listing, children) = list(node, lister, known)
      let wakes = shared.look { s in
        node.listing = listing
        node.children = children
        node.state = .done
        s.ahead += listing.items.count + 1
        s.waiting.append(contentsOf: children.reversed())
        let wakes = s.asker || (s.idle > 0 && !children.isEmpty)
        s.idle = wakes ? 0 : s.idle
        return wakes
      }
      if wakes { shared.wake() }
    }
  }

  private static func list(_ node: Node, _ lister: Lister, _ known: KeptListings) -> (Listing, [Node]) {
    let listing =
      known.take(node.path, node.status, node.extent) ?? lister.list(node.path, node.extent, status: node.status)
    var children: [Node] = []
    for item in listing.items where item.failure == 0 && item.status.kind == .directory {
      let path = node.path.joined(listing.name(item))
      let isBoundary =
        item.status.device != listing.device && lister.leavesOut(device: item.status.device) && !listing.isAboveSource
        && !lister.sources.isSource(path)
      children.append(Node(path, item.status, item.isWay ? .way : isBoundary ? .boundary : .whole))
    }
    return (listing, children)
  }
}
