/// Tells people and monitors how a run ended: by a command, a mail, a message on the desktop, an address that is fetched.
import Plan
import Posix
import SheafCore

struct Teller {
  let telling: PlanTelling
  let runner: StepRunner
  let environment: [(name: Bytes, value: Bytes)]

  func tell(_ message: PlanMessage) -> [StepResult] {
    var results: [StepResult] = []
    if let command = telling.command {
      results.append(
        runner.hook(
          "command", command.word, atMost: telling.timeLimit,
          environment + [(name: Bytes("SHEAF_SUBJECT"), value: Bytes(message.subject.utf8))], isLast: true,
          input: Bytes(message.text.utf8)))
    }
    if let mail = telling.mail { results.append(send(message, to: mail.word)) }
    if telling.usesDesktop, let bus = Self.sessionBus { results.append(show(message, on: bus)) }
    return results
  }

  /// The address of this user's session bus; nil: nobody is logged in who could see a message. What cron starts has no
  /// variables, but the socket is where pam_systemd(8) and dbus-user-session put it.
  private static var sessionBus: Bytes? {
    if let address = Host.environment("DBUS_SESSION_BUS_ADDRESS"), !address.isEmpty { return address }
    let folder = Host.environment("XDG_RUNTIME_DIR") ?? Bytes("/run/user/\(Host.userID)".utf8)
    let socket = folder.joined(Bytes("bus"))
    return folder.first == 47 && Sources.isThere(Bytes(socket.dropFirst())) ? Bytes("unix:path=") + socket : nil
  }

  /// By notify-send(1) of libnotify, which every desktop has.
  private func show(_ message: PlanMessage, on bus: Bytes) -> StepResult {
    let lines = message.silences + message.steps.map(PlanReport.line)
    // The text is markup: Desktop Notifications Specification, "Markup".
    let text = HTML.text(String(lines.joined(separator: "\n").prefix(4000)))
    let urgency = message.status == .success && message.silences.isEmpty ? "normal" : "critical"
    let words = [
      "notify-send", "--app-name=Sheaf", "--urgency=\(urgency)", "--category=transfer", "--", message.subject,
      text,
    ]
    return runner.program(
      "notify-send", words.map { Bytes($0.utf8) }, atMost: telling.timeLimit,
      [(name: Bytes("DBUS_SESSION_BUS_ADDRESS"), value: bus)], isLast: true)
  }

  /// As sendmail(8) of every mail server takes it.
  private func send(_ message: PlanMessage, to address: Bytes) -> StepResult {
    let places = [Bytes("/usr/sbin/sendmail"), Bytes("/usr/lib/sendmail")]
    let program = places.first { Sources.isThere(Bytes($0.dropFirst())) } ?? Bytes("sendmail")
    let head = [
      "Subject: \(message.subject)", "MIME-Version: 1.0", "Content-Type: text/plain; charset=utf-8",
      "Content-Transfer-Encoding: 8bit", "Auto-Submitted: auto-generated", "", "",
    ]
    let text = Bytes("To: ") + address + Bytes("\n") + Bytes((head.joined(separator: "\n") + message.text).utf8)
    // -t: to whom stands in the head; -oi: a line with a dot alone is not the end.
    return runner.program(
      "sendmail", [program, Bytes("-oi"), Bytes("-t")], atMost: telling.timeLimit, environment, isLast: true,
      input: text)
  }

  /// As monitors of jobs have it: the address itself after a good run, and with `/fail` after another; the report goes with
  /// it. The address may be a secret, so curl(1) gets it on its standard input, where nobody sees it.
  func fetch(_ message: PlanMessage) -> StepResult {
    let isGood = message.status == .success
    let address = Self.address(telling.url?.word ?? [], isGood: isGood)
    let seconds = telling.timeLimit
    let configuration =
      Bytes("url = ") + Self.quoted(address) + Bytes("\ndata-binary = ")
      + Self.quoted(Bytes(message.text.utf8.prefix(10_000))) + Bytes("\n")
    let words: [Bytes] = [
      "curl", "-q", "-fsS", "--proto", "=http,https", "--retry", "3", "--retry-delay", "1", "--max-time",
      "\(max(1, seconds / 4))", "-o", "/dev/null", "-K", "-",
    ].map { Bytes($0.utf8) }
    return runner.program("curl", words, atMost: seconds, isLast: true, input: configuration)
  }

  private static func address(_ url: Bytes, isGood: Bool) -> Bytes {
    guard !isGood else { return url }
    let mark = url.firstIndex { $0 == UInt8(ascii: "?") || $0 == UInt8(ascii: "#") } ?? url.endIndex
    let path = url[..<mark]
    return Bytes(path) + Bytes(path.last == 47 ? "fail" : "/fail") + url[mark...]
  }

  /// As curl's files of options have texts.
  private static func quoted(_ text: Bytes) -> Bytes {
    var result = Bytes("\"")
    for byte in text {
      switch byte {
      case UInt8(ascii: "\""), UInt8(ascii: "\\"): result += [UInt8(ascii: "\\"), byte]
      case 10: result += Bytes("\\n")
      case 13: result += Bytes("\\r")
      case 9: result += Bytes("\\t")
      default: result.append(byte)
      }
    }
    return result + Bytes("\"")
  }
}
