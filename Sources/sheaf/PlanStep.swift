/// One step of a plan's run: a command of this program, or a hook, in a process of its own. So a step that is killed, or
/// that dies of a mistake of ours, is told of like any other that fails.
import Glibc
import Posix
import SheafCore

/// How a step ended.
struct StepResult {
  let name: String
  var status: Status
  /// In a line.
  var words: String
  /// What it wrote on standard error, sanitized; the last lines of what is much.
  var said: [String] = []
  /// The last line of its JSON.
  var summary: SummaryLine?
  /// Nanoseconds.
  var elapsed: Int64 = 0
  /// Files whose contents changed although size and time did not.
  var rotting = 0
}

/// The last line of a command's `--json`, which is ours and so has no blanks between its parts.
struct SummaryLine {
  let text: Bytes

  private func value(_ key: String) -> ArraySlice<UInt8>? {
    let mark = Bytes("\"\(key)\":".utf8)
    guard text.count >= mark.count else { return nil }
    // A quote in a text has a backslash before it, so this is no part of one.
    return text.firstRange(of: mark).map { text[$0.upperBound...] }
  }

  func number(_ key: String) -> Int64 {
    value(key).flatMap { Int64(Bytes($0.prefix { (48...57).contains($0) }).shown) } ?? 0
  }

  func isFalse(_ key: String) -> Bool { value(key)?.starts(with: Bytes("false")) ?? false }

  /// nil: it is null, or not there.
  func word(_ key: String) -> String? {
    guard let value = value(key), value.first == UInt8(ascii: "\"") else { return nil }
    return Bytes(value.dropFirst().prefix { $0 != UInt8(ascii: "\"") }).shown
  }

  /// How many texts there are in a list of plain ones.
  func count(_ key: String) -> Int {
    guard let value = value(key), value.first == UInt8(ascii: "[") else { return 0 }
    return value.prefix { $0 != UInt8(ascii: "]") }.count { $0 == UInt8(ascii: "\"") } / 2
  }
}

struct StepRunner {
  let output: OutputOptions
  /// Of what a hook says.
  private static let mostLines = 100
  private static let longestLine = 1 << 20

  // MARK: - Commands of this program

  /// `isSilent`: what it says is not shown.
  func command(_ name: String, _ line: [String], isSilent: Bool = false) -> StepResult {
    if output.verbose, !output.quiet {
      Console.shared.say("running: sheaf " + line.map { Show.word(Arguments.unescape($0)) }.joined(separator: " "))
    }
    var result = StepResult(name: name, status: .failed, words: "")
    let start = Timestamp.monotonicNanoseconds()
    Console.shared.close()
    let child: Child
    do throws(SystemError) {
      child = try Child {
        Console.shared.reopen()
        Interruption.reopen()
        return Sheaf.perform(line).rawValue
      }
    } catch {
      result.words = "cannot be started: \(error.cause)"
      return result
    }
    var (lines, errors) = (LineSplitter(longest: Self.longestLine), LineSplitter(longest: Self.longestLine))
    let isOver = { !Interruption.progress.goesOn }
    let end = child.follow(isOver: isOver) { source, more in
      switch source {
      case .output: for line in lines.add(more) { take(line, &result) }
      case .errors: for line in errors.add(more) where !isSilent { relay(line.shown, &result) }
      }
    }
    if !isSilent, let rest = errors.end() { relay(rest.shown, &result) }
    result.elapsed = Timestamp.monotonicNanoseconds() - start
    settle(&result, end)
    return result
  }

  private func take(_ line: Bytes, _ result: inout StepResult) {
    let type = SummaryLine(text: line).word("type")
    switch type {
    case "summary", "error": result.summary = SummaryLine(text: line)
    case "suspected_rot": result.rotting += 1
    default: break
    }
    if output.json, let type, ["problem", "damage", "suspected_rot"].contains(type) {
      Console.shared.write(line + [10])
    }
  }

  private func relay(_ line: String, _ result: inout StepResult) {
    Console.shared.say(line)
    result.said.append(line)
    if result.said.count > Self.mostLines { result.said.removeFirst() }
  }

  private func settle(_ result: inout StepResult, _ end: Child.End) {
    guard case .code(let code) = end else { return }
    if let status = Status(rawValue: code) {
      result.status = status
    } else {
      result.words = code > 128 ? "was ended by signal \(code - 128)" : "ended with \(code)"
    }
    guard result.status != .success, result.words.isEmpty else { return }
    let mark = "sheaf: error: "
    let error = result.said.last { $0.hasPrefix(mark) }.map { String($0.dropFirst(mark.count)) }
    if error != nil || result.status != .incomplete { result.words = error ?? "ended with \(code)" }
  }

  // MARK: - Commands of the user

  /// Run by `sh -c`, in a process group of its own; what it says is shown and kept. `isLast`: an interrupt does not end it.
  func hook(
    _ name: String, _ command: Bytes, atMost seconds: Int, _ environment: [(name: Bytes, value: Bytes)],
    isLast: Bool = false, input: Bytes? = nil
  ) -> StepResult {
    program(name, [Bytes("/bin/sh"), Bytes("-c"), command], atMost: seconds, environment, isLast: isLast, input: input)
  }

  func program(
    _ name: String, _ words: [Bytes], atMost seconds: Int, _ environment: [(name: Bytes, value: Bytes)] = [],
    isLast: Bool = false, input: Bytes? = nil
  ) -> StepResult {
    var result = StepResult(name: name, status: .failed, words: "")
    let start = Timestamp.monotonicNanoseconds()
    Console.shared.close()
    let child: Child
    do throws(SystemError) {
      child = try Child(
        words, kind: input == nil ? .unattended : .listener, environment: environment.map(Self.variable))
    } catch {
      result.words = "cannot be started: \(error.cause)"
      return result
    }
    // What is told fits into a pipe, so that this does not wait; who does not want it is not to blame.
    if let input { try? child.input.write(Bytes(input.prefix(Self.pipeSize))) }
    try? child.input.close()
    var (lines, errors) = (LineSplitter(longest: 500), LineSplitter(longest: 500))
    var passed = 0
    func take(_ line: Bytes) {
      guard result.said.count < Self.mostLines else {
        passed += 1
        return
      }
      let text = "\(name): \(Show.path(line))"
      result.said.append(text)
      if !output.quiet { Console.shared.note(text) }
    }
    let isOver = { !isLast && !Interruption.progress.goesOn }
    let end = child.follow(atMost: seconds, endsGroup: true, isOver: isOver) { source, more in
      for line in source == .output ? lines.add(more) : errors.add(more) { take(line) }
    }
    for rest in [lines.end(), errors.end()] { if let rest { take(rest) } }
    if passed > 0 { result.said.append("\(name): and \(Words.count(passed, "more line"))") }
    result.elapsed = Timestamp.monotonicNanoseconds() - start
    switch end {
    case .code(0): result.status = .success
    case .code(let code): result.words = code > 128 ? "was ended by signal \(code - 128)" : "ended with \(code)"
    case .tooLate: result.words = "was ended after \(Words.duration(Int64(seconds) * 1_000_000_000)), its time limit"
    }
    if isOver() { result.status = .interrupted }
    // Without --quiet it was shown as it came.
    if output.quiet, result.status != .success { for line in result.said { Console.shared.note(line) } }
    return result
  }

  /// The kernel takes no variable of more than 128 KiB, and no value holds a zero byte.
  private static func variable(_ name: Bytes, _ value: Bytes) -> Bytes {
    name + Bytes("=") + value.prefix(1 << 16).filter { $0 != 0 }
  }

  /// What every pipe holds, pipe(7).
  private static let pipeSize = 1 << 16
}
