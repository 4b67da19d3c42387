/// Inflated gzip members of archives and manifests alike: those used last, in bounded memory, for several threads.
import Posix
import Storage
import Synchronization
import Tar

/// What gzip members are read from.
final class MemberSource: Sendable {
  let bytes: any ByteSource
  /// For messages.
  let name: String
  /// Bytes.
  let size: Int64
  /// Tells it from all others.
  fileprivate let number: UInt64

  private static let numbers = Atomic<UInt64>(0)

  init(_ bytes: any ByteSource, name: String, size: Int64) {
    self.bytes = bytes
    self.name = name
    self.size = size
    number = Self.numbers.wrappingAdd(1, ordering: .relaxed).newValue
  }

  /// What the header of the member at `offset`, and its trailer, say of it, without inflating: where the next one begins,
  /// and how many bytes it inflates to. What it says is proved when the member is inflated.
  func sizes(at offset: Int64) throws(Failure) -> (next: Int64, inflated: Int64) {
    let header = try read(GzipMember.headerLength, at: offset)
    let member = header.withUnsafeBytes { raw in raw.baseAddress.flatMap { GzipMember(headerAt: $0) } }
    guard let member, Int64(member.length) <= size - offset else { throw damaged(offset, "cannot be read") }
    let trailer = try read(GzipMember.trailerLength, at: offset + Int64(member.length - GzipMember.trailerLength))
    let inflated = trailer.withUnsafeBytes { GzipMember.storedLength($0) }
    guard inflated <= GzipMember.inflatedLimit else { throw damaged(offset, "is damaged") }
    return (offset + Int64(member.length), Int64(inflated))
  }

  private func read(_ count: Int, at offset: Int64) throws(Failure) -> Bytes {
    var bytes = Bytes(repeating: 0, count: count)
    var failure: StoreError?
    let read = bytes.withUnsafeMutableBytes { raw in
      guard let start = raw.baseAddress else { return 0 }
      do throws(StoreError) { return try self.bytes.read(into: start, count: count, at: offset) } catch {
        failure = error
        return 0
      }
    }
    if let failure { throw Failure(failure) }
    guard read == count else { throw damaged(offset, "is cut short") }
    return bytes
  }

  func damaged(_ offset: Int64, _ what: String) -> Failure { .damaged("\(name): \(Show.member(at: offset)) \(what)") }
}

final class MemberCache: Sendable {
  final class Member: Sendable {
    let text: Buffer
    /// Where the one after it begins.
    let next: Int64

    init(_ text: Buffer, next: Int64) {
      self.text = text
      self.next = next
    }
  }

  private struct Key: Hashable {
    let source: UInt64
    let offset: Int64
  }

  private enum Content {
    case none, coming
    case there(Member)
  }
  /// One member, there or on its way.
  private typealias Slot = Monitor<Content>

  private struct State {
    var slots: [Key: (slot: Slot, size: Int, used: UInt64)] = [:]
    var size = 0
    var clock: UInt64 = 0
  }
  private let state = Monitor(State())
  private let limit: Int

  /// `limit`: bytes of inflated members that are kept.
  init(limit: Int) { self.limit = limit }

  /// The member that begins at `offset`. `window`: bytes that one mostly takes, deflated.
  func member(at offset: Int64, of source: MemberSource, window: Int) throws(Failure) -> Member {
    let key = Key(source: source.number, offset: offset)
    let slot = state.look { state in
      state.clock += 1
      let known = state.slots[key]
      let slot = known?.slot ?? Slot(.none)
      state.slots[key] = (slot, known?.size ?? 0, state.clock)
      return slot
    }
    let found: Member? = slot.wait(changes: false) { content in
      switch content {
      case .there(let member): return .some(member)
      case .coming: return nil
      case .none:
        content = .coming
        return .some(nil)
      }
    }
    if let found { return found }
    do throws(Failure) {
      let member = try Self.load(offset, source, window)
      slot.change { $0 = .there(member) }
      keep(key, member.text.capacity)
      return member
    } catch {
      // Who waits for it tries for himself: the next time it may go well.
      slot.change { $0 = .none }
      state.look { _ = $0.slots.removeValue(forKey: key) }
      throw error
    }
  }

  private func keep(_ key: Key, _ size: Int) {
    state.look { state in
      guard let known = state.slots[key] else { return }
      state.slots[key] = (known.slot, size, known.used)
      state.size += size - known.size
      while state.size > limit, state.slots.count > 1 {
        let oldest = state.slots.filter { $0.key != key && $0.value.size > 0 }.min { $0.value.used < $1.value.used }
        guard let oldest else { return }
        state.size -= oldest.value.size
        state.slots[oldest.key] = nil
      }
    }
  }

  private static func load(_ offset: Int64, _ source: MemberSource, _ window: Int) throws(Failure) -> Member {
    let reader = MemberReader(source.bytes, from: offset, to: source.size, windowSize: window)
    do throws(MemberReader.Failure) {
      guard let (_, bytes) = try reader.next() else { throw .cutShort(offset: offset) }
      let text = Buffer(
        capacity: GzipMember.storedLength(bytes) <= GzipMember.inflatedLimit
          ? GzipMember.storedLength(bytes) : 64)
      do throws(Decompressor.Failure) { try Decompressor().inflate(bytes, into: text) } catch {
        throw .notAMember(offset: offset)
      }
      return Member(text, next: reader.offset)
    } catch {
      switch error {
      case .unreadable(let error): throw Failure(error)
      case .cutShort: throw source.damaged(offset, "is cut short")
      case .notAMember: throw source.damaged(offset, "is damaged")
      }
    }
  }
}
