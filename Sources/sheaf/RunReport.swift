/// Shows a run as it goes: problems, notes, entries and the progress line; counts what decides the exit code.
import Posix
import SheafCore

final class RunReport: Reporter {
  private let output: OutputOptions
  private let problems = Monitor(0)
  private let rotting = Monitor(0)
  private let begun = Monitor(Timestamp.monotonicNanoseconds())
  var started: Int64 { begun.look { $0 } }

  /// `finishesWork`: the command goes on where nobody reads what it prints.
  init(_ output: OutputOptions, finishesWork: Bool = true) {
    self.output = output
    Console.shared.finishesWork.store(finishesWork, ordering: .relaxed)
  }

  var wantsItems: Bool { output.verbose }
  var wantsDeletions: Bool { output.verbose || output.json }
  var problemCount: Int { problems.look { $0 } }
  /// Files that changed in contents alone.
  var rotCount: Int { rotting.look { $0 } }
  var elapsed: Int64 { Timestamp.monotonicNanoseconds() - started }

  /// A person was asked: what is said of the time counts from now on.
  func beginAnew() { begun.look { $0 = Timestamp.monotonicNanoseconds() } }

  func problem(_ message: String, path: Bytes?) {
    problems.change { $0 += 1 }
    if output.json {
      var json = JSON("problem")
      json.add("message", message)
      if let path { json.add("path", path) }
      json.print()
    }
    Console.shared.warning(path.map { "\(Show.path([47] + $0)): \(message)" } ?? message)
  }

  /// Also with --quiet, since nothing else may ever show it. The file was saved, so the run did not fail.
  func suspectRot(_ path: Bytes) {
    rotting.change { $0 += 1 }
    let message =
      "its contents changed, though size and time did not: perhaps they rot; older points have them as they were"
    if output.json {
      var json = JSON("suspected_rot")
      json.add("message", message)
      json.add("path", path)
      json.print()
    }
    Console.shared.warning("\(Show.path([47] + path)): \(message)")
  }

  func note(_ message: String) {
    if !output.quiet { Console.shared.note(message) }
  }

  func tookOver(_ kept: TakeOverSummary) {
    if output.json {
      var json = JSON("taken_over")
      json.add("set", kept.set.text)
      json.add("files", kept.files)
      json.add("bytes", kept.storedBytes)
      json.add("incomplete", !kept.isComplete)
      if let unfinished = kept.unfinished {
        json.add("unfinished", unfinished.path)
        json.add("bytes_dropped", unfinished.dropped)
      }
      json.print()
      return
    }
    let what = "\(Words.count(kept.files)) entries, \(Words.size(kept.storedBytes))"
    note(
      kept.isComplete
        ? "an interrupted run had saved everything: it is \(kept.set.text) now (\(what))"
        : "what an interrupted run had saved is kept as \(kept.set.text), incomplete (\(what))")
    if let unfinished = kept.unfinished { note(unfinished.loss) }
  }

  /// Like rsync's itemized changes: what happened, the kind of entry, its path.
  func item(_ mark: Mark, _ path: Bytes, _ kind: FileKind) {
    if output.json {
      var json = JSON("entry")
      json.add("action", Self.word(mark))
      json.add("path", path)
      json.print()
      return
    }
    let letter = Self.letter(kind)
    let sign =
      switch mark {
      case .new: ">\(letter)+++"
      case .changed: ">\(letter)..."
      case .metadata: ".\(letter)..."
      case .moved: "=\(letter)mov"
      case .deleted: "*\(letter)del"
      case .leftOut: "*\(letter)out"
      case .unseen: "?\(letter)..."
      case .restored: "<\(letter)..."
      }
    Console.shared.write(Bytes("\(sign) ".utf8) + Console.shared.path([47] + path) + [10])
  }

  private static func word(_ mark: Mark) -> String {
    switch mark {
    case .new: "new"
    case .changed: "changed"
    case .metadata: "unchanged"
    case .moved: "moved"
    case .deleted: "deleted"
    case .leftOut: "left_out"
    case .unseen: "unseen"
    case .restored: "restored"
    }
  }

  private static func letter(_ kind: FileKind) -> String {
    switch kind {
    case .file: "f"
    case .directory: "d"
    case .symlink: "L"
    case .characterDevice, .blockDevice: "D"
    case .fifo, .socket: "S"
    }
  }

  /// Runs `body` with progress shown.
  func showing<R>(_ verb: String, _ body: () throws -> R) rethrows -> R {
    defer { tellOfPassedHoles() }
    return try showingLine(verb, body)
  }

  private func tellOfPassedHoles() {
    let (files, bytes) = Interruption.progress.passedHoles
    guard files > 0 else { return }
    let (whose, digests) = files == 1 ? ("its", "digest was") : ("their", "digests were")
    Console.shared.warning(
      "\(Words.count(files, "file")) with \(Words.size(bytes)) of holes, too many to be hashed: \(whose) \(digests) not compared"
    )
  }

  private func showingLine<R>(_ verb: String, _ body: () throws -> R) rethrows -> R {
    guard !output.quiet, !output.json else { return try body() }
    let done = Monitor(false)
    let thread = Thread { [started] in Self.showProgress(verb, started, until: done) }
    defer {
      done.change { $0 = true }
      thread.join()
      Console.shared.wipeLine()
    }
    return try body()
  }

  private static func showProgress(_ verb: String, _ started: Int64, until done: Monitor<Bool>) {
    let progress = Interruption.progress
    let live = Console.shared.hasLiveLine
    var nextPlain: Int64 = 30_000_000_000
    while true {
      done.sleep(milliseconds: live ? 100 : 500)
      if done.look({ $0 }) { return }
      let elapsed = Timestamp.monotonicNanoseconds() - started
      let bytes = progress.bytes.load(ordering: .relaxed)
      let expected = progress.expected.load(ordering: .relaxed)
      let rate = Double(bytes) / max(0.001, Double(elapsed) / 1e9)
      // The most important first: what does not fit on the terminal's line is left out.
      var parts = [Words.size(bytes) + (expected > 0 ? " of \(Words.size(expected))" : "")]
      if expected > bytes, rate > 0, elapsed > 1_000_000_000 {
        let left = (Double(expected) - Double(bytes)) / rate
        // An estimate of years is wrong; it is not shown.
        if left < 365 * 86400 { parts.append("\(Words.duration(Int64(saturating: left * 1e9))) left") }
      }
      parts.append(Words.count(progress.files.load(ordering: .relaxed), "file"))
      parts.append("\(Words.size(Int64(saturating: rate)))/s")
      let columns = Console.shared.errorColumns - 1
      var text = verb
      for part in parts where !live || Show.columns(text) + 2 + Show.columns(part) <= columns { text += "  " + part }
      if live {
        let room = columns - Show.columns(text) - 2
        if room > 10 {
          let path = Show.path(progress.current)
          text += "  " + (Show.columns(path) > room ? "…" + Show.suffix(path, columns: room - 1) : path)
        }
        Console.shared.showLine(text)
      } else if elapsed >= nextPlain {
        Console.shared.say(text)
        nextPlain += nextPlain < 300_000_000_000 ? 60_000_000_000 : 300_000_000_000
      }
    }
  }

  /// Ends a command whose work is done, but not for every file.
  func finish() throws {
    if problemCount > 0 { throw Status.incomplete }
  }

  /// The last lines in words. `unseen`: how many entries that came out are last good copies.
  func printEnd(unseen: Int64 = 0) {
    let console = Console.shared
    if unseen > 0 {
      let what = unseen == 1 ? "1 entry is a last good copy" : "\(Words.count(unseen)) entries are last good copies"
      console.print("  \(what): the backup could not read \(unseen == 1 ? "it" : "them") then")
    }
    if rotCount > 0 {
      console.print(console.styled("  \(Words.count(rotCount, "file")) may rot, see above", .yellow))
    }
    if problemCount > 0 {
      console.print(console.styled("  \(Words.count(problemCount, "problem")), see above", .yellow))
    }
  }
}
