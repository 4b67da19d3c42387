/// Adding up sizes that someone else may have written.
extension Int64 {
  /// Adds, and stays at the largest number where the sum would be larger.
  @inlinable public mutating func add(saturating more: Int64) {
    let (sum, isTooLarge) = addingReportingOverflow(more)
    self = isTooLarge ? .max : sum
  }
}
