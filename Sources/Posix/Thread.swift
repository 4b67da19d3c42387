/// Threads of our own and the two ways they talk: a monitor (a lock with a condition) and a bounded queue.
import Glibc
import Synchronization

/// A lock and its condition around a value. `wait` must be called in a loop that looks at the value again.
public final class Monitor<Value>: @unchecked Sendable {
  private let lock = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
  private let condition = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)
  private var value: Value

  public init(_ value: Value) {
    self.value = value
    pthread_mutex_init(lock, nil)
    pthread_cond_init(condition, nil)
  }

  deinit {
    pthread_cond_destroy(condition)
    pthread_mutex_destroy(lock)
    condition.deallocate()
    lock.deallocate()
  }

  /// Runs `body` alone, then wakes everyone who waits.
  public func change<R, E: Error>(_ body: (inout Value) throws(E) -> R) throws(E) -> R {
    pthread_mutex_lock(lock)
    defer {
      pthread_cond_broadcast(condition)
      pthread_mutex_unlock(lock)
    }
    return try body(&value)
  }

  /// Runs `body` alone, waking no one.
  public func look<R, E: Error>(_ body: (inout Value) throws(E) -> R) throws(E) -> R {
    pthread_mutex_lock(lock)
    defer { pthread_mutex_unlock(lock) }
    return try body(&value)
  }

  /// Runs `body` until it gives something, sleeping between until another thread changes the value.
  /// Wakes the others afterwards where it `changes` something for them.
  public func wait<R>(changes: Bool = true, _ body: (inout Value) throws -> R?) rethrows -> R {
    pthread_mutex_lock(lock)
    defer {
      if changes { pthread_cond_broadcast(condition) }
      pthread_mutex_unlock(lock)
    }
    while true {
      if let result = try body(&value) { return result }
      pthread_cond_wait(condition, lock)
    }
  }

  /// Wakes everyone who waits.
  public func wake() { pthread_cond_broadcast(condition) }

  /// Sleeps until a change or until `milliseconds` have passed.
  public func sleep(milliseconds: Int) {
    var until = timespec()
    clock_gettime(CLOCK_REALTIME, &until)
    until.tv_nsec += milliseconds * 1_000_000
    until.tv_sec += until.tv_nsec / 1_000_000_000
    until.tv_nsec %= 1_000_000_000
    pthread_mutex_lock(lock)
    pthread_cond_timedwait(condition, lock, &until)
    pthread_mutex_unlock(lock)
  }
}

/// A thread that runs one closure. Joined explicitly.
public final class Thread: @unchecked Sendable {
  private final class Box {
    let body: @Sendable () -> Void
    init(_ body: @escaping @Sendable () -> Void) { self.body = body }
  }
  private var handle = pthread_t()

  public init(_ body: @escaping @Sendable () -> Void) {
    let box = Unmanaged.passRetained(Box(body))
    let code = pthread_create(
      &handle, nil,
      { argument in
        Unmanaged<Box>.fromOpaque(argument!).takeRetainedValue().body()
        return nil
      }, box.toOpaque())
    precondition(code == 0, "cannot start a thread: \(String(cString: strerror(code)))")
  }

  public func join() { pthread_join(handle, nil) }

  /// Lets the calling thread rest, less where a signal comes.
  public static func sleep(nanoseconds: Int64) {
    var time = timespec(tv_sec: Int(nanoseconds / 1_000_000_000), tv_nsec: Int(nanoseconds % 1_000_000_000))
    nanosleep(&time, nil)
  }
}

/// What another thread finds out while this one goes on.
public final class Ahead<Value: Sendable>: Sendable {
  private let found = Monitor<Value?>(nil)

  public init(_ body: @escaping @Sendable () -> Value) {
    let found = found
    _ = Thread {
      let value = body()
      found.change { $0 = value }
    }
  }

  /// Waits for it.
  public var value: Value { found.wait(changes: false) { $0 } }
}

/// First in, first out, at most `limit` at a time: who puts waits for room, who takes waits for something. What is
/// large may weigh more than one; what weighs more than all the room there is waits until nothing else is inside.
public final class BoundedQueue<Element>: @unchecked Sendable {
  private struct State {
    var elements: [(element: Element, weight: Int)] = []
    var head = 0
    var weight = 0
    var closed = false
  }
  private let state = Monitor(State())
  private let limit: Int

  public init(limit: Int) { self.limit = limit }

  /// False where the queue was closed; the element is dropped then.
  @discardableResult public func put(_ element: Element, weight: Int = 1) -> Bool {
    state.wait { s in
      if s.closed { return false }
      if s.weight > 0, s.weight + weight > limit { return nil }
      s.elements.append((element, weight))
      s.weight += weight
      return true
    }
  }

  /// nil: closed and empty.
  public func take() -> Element? {
    state.wait { (s: inout State) -> Element?? in
      if s.head < s.elements.count {
        let (element, weight) = s.elements[s.head]
        s.weight -= weight
        s.head += 1
        if s.head == s.elements.count || s.head > 64 {
          s.elements.removeFirst(s.head)
          s.head = 0
        }
        return .some(element)
      }
      return s.closed ? .some(nil) : nil
    }
  }

  /// No more is put; what is inside can still be taken.
  public func close() { state.change { $0.closed = true } }
}

/// How many threads a command gives its work to: the processors there are, unless `limitProcessors` told otherwise.
public func processorCount() -> Int {
  let limit = processorLimit.load(ordering: .relaxed)
  return limit > 0 ? limit : max(1, sysconf(Int32(_SC_NPROCESSORS_ONLN)))
}

private let processorLimit = Atomic(0)

/// From here on `processorCount` gives this: what the user wants to be used, at least 1.
public func limitProcessors(to count: Int) { processorLimit.store(max(1, count), ordering: .relaxed) }
