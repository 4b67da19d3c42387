/// What this machine remembers of the runs of plans into one series of one store, whatever the plans are called: each drive
/// of a plan has points of its own, and what was looked at or accepted on one was not on another.
import Posix
import SheafCore

struct SeriesRecord {
  /// The newest point of which it is known how much it changed.
  var judged: String?
  /// The point since which nothing is pruned.
  var spike: String?
  /// When a check of the series last found no damage.
  var checked: Timestamp?
  /// When some files were last restored by the store's own script for a trial.
  var scripted: Timestamp?

  /// As the store's UUID and the series' name.
  private let name: Bytes

  private static let points: [(String, WritableKeyPath<SeriesRecord, String?> & Sendable)] = [
    ("judged", \.judged), ("spike", \.spike),
  ]
  private static let times: [(String, WritableKeyPath<SeriesRecord, Timestamp?> & Sendable)] = [
    ("checked", \.checked), ("scripted", \.scripted),
  ]

  /// Empty where there is none, or none that can be read.
  init(uuid: String, series: Bytes) {
    name = Bytes("\(uuid).\(series.hex).series".utf8)
    guard let lines = PlanRecord.lines(of: name) else { return }
    for (key, value) in lines {
      if let (_, path) = Self.times.first(where: { $0.0 == key }) {
        self[keyPath: path] = Int64(value).map { Timestamp(seconds: $0) }
      } else if let (_, path) = Self.points.first(where: { $0.0 == key }), SetName("\(value)-full") != nil {
        self[keyPath: path] = value
      }
    }
  }

  /// Throws where it cannot be remembered.
  func write() throws(Failure) {
    let lines =
      Self.points.compactMap { key, path in self[keyPath: path].map { "\(key)=\($0)" } }
      + Self.times.compactMap { key, path in self[keyPath: path].map { "\(key)=\($0.seconds)" } }
    try PlanRecord.write(lines, as: name)
  }
}
