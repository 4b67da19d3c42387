/// Tells people and monitors how a run ended: by a command, a mail, an address that is fetched.
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
    return results
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
