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
    let isBoundary: Bool
    /// Guarded by the walk's monitor.
    var state = State.waiting
    var listing: Listing?
    var children: [Node] = []

    init(_ path: Bytes, _ status: Status?, isBoundary: Bool) {
      self.path = path
      self.status = status
      self.isBoundary = isBoundary
    }
  }

  private struct Shared {
    /// The next to be listed ahead is last.
    var waiting: [Node] = []
    /// Entries listed and not yet asked for.
    var ahead = 0
    var stopped = false
  }

  private let lister: Lister
  private let shared = Monitor(Shared())
  private var threads: [Thread] = []
  /// The next to be given is last.
  private var stack: [Node]
  private static let limit = 20_000

  init(_ lister: Lister, threads count: Int) {
    self.lister = lister
    let root = Node([], nil, isBoundary: false)
    stack = [root]
    shared.change { $0.waiting.append(root) }
    for _ in 0..<count {
      threads.append(Thread { [shared, lister] in Self.listAhead(shared, lister) })
    }
  }

  deinit {
    shared.change { $0.stopped = true }
    for thread in threads { thread.join() }
  }

  /// The next directory; nil after the last.
  func next() -> (listing: Listing, status: Status?)? {
    guard let node = stack.popLast() else { return nil }
    let mine = shared.wait { s -> Bool? in
      switch node.state {
      case .waiting:
        node.state = .taken
        return true
      case .taken: return nil
      case .done:
        s.ahead -= node.listing!.items.count + 1
        return false
      }
    }
    if mine {
      let (listing, children) = Self.list(node, lister)
      node.listing = listing
      node.children = children
      shared.change { $0.waiting.append(contentsOf: children.reversed()) }
    }
    stack.append(contentsOf: node.children.reversed())
    let listing = node.listing!
    node.listing = nil
    return (listing, node.status)
  }

  private static func listAhead(_ shared: Monitor<Shared>, _ lister: Lister) {
    while true {
      let node: Node? = shared.wait { s -> Node?? in
        if s.stopped { return .some(nil) }
        guard s.ahead < limit else { return nil }
        while let node = s.waiting.popLast() {
          if node.state == .waiting {
            node.state = .taken
            return .some(node)
          }
        }
        return nil
      }
      guard let node else { return }
      let (listing, children) = list(node, lister)
      shared.change { s in
        node.listing = listing
        node.children = children
        node.state = .done
        s.ahead += listing.items.count + 1
        s.waiting.append(contentsOf: children.reversed())
      }
    }
  }

  private static func list(_ node: Node, _ lister: Lister) -> (Listing, [Node]) {
    let listing = lister.list(node.path, isBoundary: node.isBoundary)
    var children: [Node] = []
    for item in listing.items where item.failure == 0 && item.status.kind == .directory {
      let isBoundary = lister.rules.oneFileSystem && !listing.isAboveSource && item.status.device != listing.device
      children.append(Node(node.path.joined(listing.name(item)), item.status, isBoundary: isBoundary))
    }
    return (listing, children)
  }
}
