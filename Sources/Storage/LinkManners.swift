/// How the line to another machine is used, whatever is spoken on it.
import Posix

public struct LinkManners: Sendable {
  /// Seconds for which a lost connection, or a request that the server cannot answer, is tried again.
  public var patience = 900
  public var limits = RateLimits()
  /// Whether it is still worth waiting.
  public var goesOn: @Sendable () -> Bool = { true }
  /// Told, as whole sentences, of what a person waits for.
  public var notice: @Sendable (String) -> Void = { _ in }

  public init(patience: Int = 900) { self.patience = patience }
}
