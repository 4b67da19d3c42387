/// How many bytes a second go to a store and come from it.
import Posix

/// Lets bytes pass at a rate. All who send share it: each waits for its turn.
public final class RateLimit: Sendable {
  private let bytesPerSecond: Int64
  /// When all that was let through will have passed, by the monotonic clock.
  private let end = Monitor<Int64>(0)

  public init(bytesPerSecond: Int64) { self.bytesPerSecond = max(1, bytesPerSecond) }

  /// Bytes that take a quarter of a second: larger pieces make the line stutter.
  var piece: Int { Int(clamping: max(1024, bytesPerSecond / 4)) }

  /// Waits for as long as `count` bytes take, and those of others before them.
  func pass(_ count: Int) {
    let (quotient, isTooLarge) = Int64(count).multipliedReportingOverflow(by: 1_000_000_000)
    let time = isTooLarge ? Int64.max / 4 : quotient / bytesPerSecond
    let own = end.look { end -> Int64 in
      end = max(end, Timestamp.monotonicNanoseconds()).adding(saturating: time)
      return end
    }
    // A signal ends a rest early.
    while true {
      let rest = own - Timestamp.monotonicNanoseconds()
      guard rest > 0 else { return }
      Thread.sleep(nanoseconds: rest)
    }
  }
}

/// nil: as fast as it goes.
public struct RateLimits: Sendable {
  /// Bytes a second; below it a connection would seem dead.
  public static let least: Int64 = 1024

  public var upload: RateLimit?
  public var download: RateLimit?

  public init(upload: RateLimit? = nil, download: RateLimit? = nil) {
    (self.upload, self.download) = (upload, download)
  }
}
