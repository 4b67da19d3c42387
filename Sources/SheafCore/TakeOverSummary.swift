/// What is kept of an interrupted run.
import Posix

public struct TakeOverSummary: Sendable {
  public var set: SetName
  public var files: Int64
  /// Bytes of archive that are kept.
  public var storedBytes: Int64
  /// The run had come to its end and only its names were not final.
  public var isComplete: Bool
  public var unfinished: UnfinishedFile?
}

/// A file of which only the beginning was there, which is lost.
public struct UnfinishedFile: Sendable {
  public var path: Bytes
  /// How much of its contents had been saved, and how much there is.
  public var saved: Int64
  public var size: Int64
  /// Bytes of archive that were dropped with it.
  public var dropped: Int64

  /// In words.
  public var loss: String {
    "\(Show.path([47] + path)) was not finished: the \(Show.size(saved)) saved of its \(Show.size(size)) are lost"
  }
}
