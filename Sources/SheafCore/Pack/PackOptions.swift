/// What the user wants of packing.
struct PackOptions {
  var level: Int
  /// Files of at most so many bytes are not compressed; -1: all are.
  var compressAbove: Int64
  /// Seconds that times may differ by and count as the same.
  var window: Int64
}
