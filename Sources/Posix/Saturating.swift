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
}
