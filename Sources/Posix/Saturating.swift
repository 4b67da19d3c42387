/// Adding up sizes that someone else may have written.
extension Int64 {
  /// The nearest whole number to be had; 0 of what is none.
  @inlinable public init(saturating value: Double) {
    self = value.isNaN ? 0 : value >= 0x1p63 ? .max : value <= -0x1p63 ? .min : Int64(value)
  }

  /// Adds, and stays at the largest number where the sum would be larger.
  @inlinable public mutating func add(saturating more: Int64) {
    let (sum, isTooLarge) = addingReportingOverflow(more)
    self = isTooLarge ? .max : sum
  }

  @inlinable public func adding(saturating more: Int64) -> Int64 {
    var sum = self
    sum.add(saturating: more)
    return sum
  }

  /// What is left, between the smallest and the largest number.
  @inlinable public func subtracting(saturating less: Int64) -> Int64 {
    let (rest, isOutOfRange) = subtractingReportingOverflow(less)
    return isOutOfRange ? (less > 0 ? .min : .max) : rest
  }
}

extension Sequence where Element == Int64 {
  /// The sum of sizes, or the largest number where it would be larger.
  @inlinable public var saturatedSum: Int64 { reduce(into: 0) { $0.add(saturating: $1) } }
}
