/// A moment as the kernel gives it: whole seconds and nanoseconds, never a floating-point number.
import CLinux
import Glibc

public struct Timestamp: Equatable, Comparable, Hashable, Sendable {
  /// Since 1970-01-01 UTC; negative before.
  public var seconds: Int64
  /// 0 to 999,999,999, always counted upwards from `seconds`.
  public var nanoseconds: Int32

  @inlinable public init(seconds: Int64, nanoseconds: Int32 = 0) {
    self.seconds = seconds
    self.nanoseconds = nanoseconds
  }

  /// A file system that gives nanoseconds which are none is not taken at its word.
  init(_ time: timespec) {
    self.init(
      seconds: Int64(time.tv_sec), nanoseconds: Int32(truncatingIfNeeded: min(max(0, time.tv_nsec), 999_999_999)))
  }

  var timespec: Glibc.timespec { Glibc.timespec(tv_sec: Int(seconds), tv_nsec: Int(nanoseconds)) }

  @inlinable public static func < (a: Timestamp, b: Timestamp) -> Bool {
    (a.seconds, a.nanoseconds) < (b.seconds, b.nanoseconds)
  }

  /// Whether they are at most so many seconds apart.
  public func isWithin(_ seconds: Int64, of other: Timestamp) -> Bool {
    let (early, late) = self < other ? (self, other) : (other, self)
    let apart = late.seconds.subtracting(saturating: early.seconds)
    return apart < seconds || apart == seconds && late.nanoseconds <= early.nanoseconds
  }

  /// The wall clock.
  public static func now() -> Timestamp {
    var time = Glibc.timespec()
    clock_gettime(CLOCK_REALTIME, &time)
    return Timestamp(time)
  }

  /// A clock that only goes forward, in nanoseconds, for measuring durations.
  public static func monotonicNanoseconds() -> Int64 {
    var time = Glibc.timespec()
    clock_gettime(CLOCK_MONOTONIC, &time)
    return Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_nsec)
  }

  /// Year, month (1…12), day, hour, minute, second in UTC or, where `local`, in the machine's time zone.
  public func calendar(local: Bool = false) -> (year: Int, month: Int, day: Int, hour: Int, minute: Int, second: Int) {
    var time = time_t(seconds)
    var parts = tm()
    if local { localtime_r(&time, &parts) } else { gmtime_r(&time, &parts) }
    return (
      Int(parts.tm_year) + 1900, Int(parts.tm_mon) + 1, Int(parts.tm_mday), Int(parts.tm_hour), Int(parts.tm_min),
      Int(parts.tm_sec)
    )
  }

  /// The last moment at which a clock in the machine's time zone shows these numbers: where it is set back there are two,
  /// where it is set forward the one that they would have been.
  public static func lastLocal(year: Int, month: Int, day: Int, hour: Int, minute: Int, second: Int) -> Timestamp {
    let first = Timestamp(
      year: year, month: month, day: day, hour: hour, minute: minute, second: second, local: true)
    // No clock is set back by more than three hours, nor by less than a quarter of one.
    let later = stride(from: Int64(12), through: -12, by: -1).map { Timestamp(seconds: first.seconds + $0 * 900) }
    return later.first { $0.calendar(local: true) == (year, month, day, hour, minute, second) } ?? first
  }

  /// The moment at which a clock shows these numbers, in UTC or the machine's time zone.
  public init(
    year: Int, month: Int, day: Int, hour: Int = 0, minute: Int = 0, second: Int = 0, local: Bool = false
  ) {
    var parts = tm()
    parts.tm_year = Int32(year - 1900)
    parts.tm_mon = Int32(month - 1)
    parts.tm_mday = Int32(day)
    parts.tm_hour = Int32(hour)
    parts.tm_min = Int32(minute)
    parts.tm_sec = Int32(second)
    parts.tm_isdst = -1
    self.init(seconds: Int64(local ? mktime(&parts) : timegm(&parts)))
  }
}
