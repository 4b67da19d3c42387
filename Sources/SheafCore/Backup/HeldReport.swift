/// Holds reports about entries back until it is known that the attempt counts.
import Posix

final class HeldReport: Reporter {
  private let reporter: any Reporter
  private let held = Monitor<[(any Reporter) -> Void]>([])

  init(for reporter: any Reporter) { self.reporter = reporter }

  func problem(_ message: String, path: Bytes?) { held.look { $0.append { $0.problem(message, path: path) } } }
  func note(_ message: String) { reporter.note(message) }
  func suspectRot(_ path: Bytes) { held.look { $0.append { $0.suspectRot(path) } } }
  func tookOver(_ kept: TakeOverSummary) { reporter.tookOver(kept) }
  func item(_ mark: Mark, _ path: Bytes, _ kind: FileKind) { held.look { $0.append { $0.item(mark, path, kind) } } }
  var wantsItems: Bool { reporter.wantsItems }

  func tell() { for body in held.look({ $0 }) { body(reporter) } }
}
