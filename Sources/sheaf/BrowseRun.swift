/// The browser on the terminal: brings keys to it and its screens back, and restores what it is told to.
import Browse
import Posix
import SheafCore

struct BrowseRun {
  let store: Store
  let series: Series
  /// Of a restore. Where no target is in them the person is asked.
  let options: RestoreOptions
  let output: OutputOptions
  private var hasRestored = false

  init(store: Store, series: Series, options: RestoreOptions, output: OutputOptions) {
    (self.store, self.series, self.options, self.output) = (store, series, options, output)
  }

  /// Throws `usage` where nothing can be drawn or no key be pressed.
  static func checkTerminal() throws(Failure) {
    let kind = Host.environment("TERM") ?? []
    let isFit = !kind.isEmpty && kind != Bytes("dumb")
    guard isFit, Descriptor.standardInput.isTerminal, Descriptor.standardOutput.isTerminal else {
      throw Failure(
        .usage,
        isFit ? "there is no terminal to browse in" : "this terminal cannot be drawn on: TERM is dumb or not set",
        hint: "'sheaf ls', 'sheaf find' and 'sheaf history' show the same line by line")
    }
  }

  /// Ends with the exit code of what could not be restored.
  mutating func run(at point: PointOption, path: RawText?) throws {
    let told = Told()
    let source = try SeriesBrowser(
      series, spilling: Host.spillDirectory, reporter: told, progress: Interruption.progress,
      report: { told.problem($0, path: nil) })
    let start = try source.sets().isEmpty ? nil : point.find(in: series)
    var folder: Bytes?
    if let path, let start { folder = try Contents(series, start).path(path) }
    let name = store.label.isEmpty ? store.path : store.label
    let browser = try Browser(
      source, title: "\(Show.path(name)), series \(Show.path(series.name))", at: start, path: folder)
    let screen = TerminalScreen(browser)
    let status: Status
    do {
      try screen.enter()
      defer { FullScreen.leave() }
      status = try loop(browser, screen, told)
    }
    if status != .success { throw status }
  }

  private mutating func loop(_ browser: Browser, _ screen: TerminalScreen, _ told: Told) throws -> Status {
    var ended = Status.success
    while Interruption.progress.goesOn {
      if FullScreen.takeContinued() { try screen.enter() }
      try screen.draw()
      for key in try screen.keys(waiting: !browser.hasWork) {
        switch browser.handle(key) {
        case .none: break
        case .quit: return ended
        case .redraw: screen.forget()
        case .suspend: try screen.suspend()
        case .restore(let marks):
          let status = try restore(marks, browser)
          if status != .success { ended = status }
          try screen.enter()
        }
      }
      browser.work()
      if let message = told.take() { browser.message = message }
    }
    throw Failure(.interrupted, "interrupted")
  }

  // MARK: - Restoring

  private mutating func restore(_ marks: [Browser.Mark], _ browser: Browser) throws -> Status {
    FullScreen.leave()
    var ended = Status.success
    var left = marks
    while let first = left.first {
      let together = left.filter { $0.point == first.point }
      left.removeAll { $0.point == first.point }
      do {
        guard try restore(together.map(\.path), from: first.point) else {
          browser.message = "stopped: nothing was restored"
          return ended
        }
        browser.unmark(together)
      } catch let failure as Failure where failure.kind != .interrupted {
        Console.shared.error(failure.message, hint: failure.hint)
        ended = Status(failure.kind)
      } catch let status as Status { ended = status }
    }
    Console.shared.flush()
    _ = try unlessStopped { try Destination.answer("Enter goes back to looking around: ") }
    return ended
  }

  /// nil where the question was stopped.
  private func unlessStopped<R>(_ ask: () throws -> R) throws -> R? {
    do { return try ask() } catch let failure as Failure where failure.kind == .interrupted {
      guard Interruption.isAnAnswer() else { throw failure }
      return nil
    }
  }

  /// False where the person stopped it when asked where to.
  private mutating func restore(_ paths: [Bytes], from point: SetName) throws -> Bool {
    // Another set may stand for the point by now.
    let set = try series.find(point: Bytes(point.point.utf8), now: .now())
    let what =
      paths.contains([]) ? "all" : paths.count == 1 ? Show.path([47] + paths[0]) : Words.count(paths.count, "path")
    Console.shared.say("restoring \(what) as of \(Words.time(set.time).dropLast(3))")
    var options = options
    options.paths = paths
    if options.target.isEmpty {
      let contents = try Contents(series, set)
      guard try unlessStopped({ try Destination.ask(for: &options, of: set, contents) }) != nil else { return false }
    }
    let report = RunReport(output)
    Interruption.progress.begin()
    // The target that was given is not empty any more once something has been restored into it.
    if hasRestored, options.overwrite == nil { options.overwrite = .never }
    try RestoreRun(series: series, options: options, output: output, isAsked: true).run(set, report)
    hasRestored = hasRestored || !self.options.target.isEmpty
    return true
  }
}

/// What is told while the terminal is drawn on: the last of it is shown there.
private final class Told: Reporter {
  private let last = Monitor<String?>(nil)

  func take() -> String? {
    last.look { (last: inout String?) -> String? in
      defer { last = nil }
      return last
    }
  }

  func problem(_ message: String, path: Bytes?) {
    last.look { $0 = path.map { "\(Show.path([47] + $0)): \(message)" } ?? message }
  }
  func note(_ message: String) { problem(message, path: nil) }
  func suspectRot(_ path: Bytes) {}
  func tookOver(_ kept: TakeOverSummary) {}
  func item(_ mark: SheafCore.Mark, _ path: Bytes, _ kind: FileKind) {}
  var wantsItems: Bool { false }
}

/// The terminal, with what a browser shows on it.
private final class TerminalScreen {
  private let browser: Browser
  private var reader = KeyReader()
  private var shown: Screen?
  /// nil: the terminal does not tell.
  private var size: FullScreen.Size?

  /// Milliseconds after which a terminal that was made larger is noticed, and an escape is a key by itself.
  private static let pause: Int32 = 200
  private static let escapePause: Int32 = 50

  init(_ browser: Browser) {
    self.browser = browser
    browser.willWait = { [weak self] message in
      guard let self else { return }
      self.browser.message = message
      try? self.draw()
      self.browser.message = nil
    }
  }

  private func system<R>(_ body: () throws(SystemError) -> R) throws(Failure) -> R {
    do throws(SystemError) { return try body() } catch { throw Failure(error) }
  }

  func enter() throws(Failure) {
    forget()
    try system { () throws(SystemError) in try FullScreen.enter() }
  }

  func suspend() throws(Failure) {
    forget()
    try system { () throws(SystemError) in try FullScreen.suspend() }
  }

  /// Everything is drawn anew.
  func forget() { shown = nil }

  func draw() throws(Failure) {
    let now = FullScreen.size
    if now != size { forget() }
    size = now
    let screen = browser.screen(columns: now?.columns ?? 80, rows: now?.rows ?? 24)
    let bytes = screen.bytes(after: shown)
    shown = screen
    try system { () throws(SystemError) in try Descriptor.standardOutput.write(bytes) }
  }

  /// Those that were pressed; after a moment without any, none.
  func keys(waiting: Bool) throws(Failure) -> [Key] {
    try system { () throws(SystemError) -> [Key] in
      guard try hasInput(within: waiting ? Self.pause : 0) else { return [] }
      var keys = reader.take(try read())
      while reader.isWithinKey {
        guard try hasInput(within: Self.escapePause) else { return keys + reader.finish() }
        keys += reader.take(try read())
      }
      return keys
    }
  }

  private func hasInput(within pause: Int32) throws(SystemError) -> Bool {
    try Descriptor.standardInput.hasInput(withinMilliseconds: pause)
  }

  private func read() throws(SystemError) -> Bytes {
    let bytes = try Descriptor.standardInput.readSome(atMost: 1024)
    // Nobody sits there any more.
    if bytes.isEmpty { Interruption.progress.isCancelled.store(true, ordering: .relaxed) }
    return bytes
  }
}
