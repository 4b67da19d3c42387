/// TOML as Python's tomllib reads it: a table, and the same texts with bytes changed by chance.
import Foundation
import Plan
import Posix
import TestSupport
import Testing

/// Every value of a document with the way to it, sorted; nil: it is no TOML.
private func flat(_ text: Bytes) -> [String]? {
  var lines: [String] = []
  func add(_ node: TOMLNode, _ path: String) {
    switch node.value {
    case .string(let text): lines.append("\(path) s \(text.hexDigits)")
    case .integer(let number): lines.append("\(path) i \(number)")
    case .float(let number): lines.append("\(path) f \(number.isNaN ? "nan" : String(number.bitPattern))")
    case .boolean(let isTrue): lines.append("\(path) b \(isTrue)")
    case .date: lines.append("\(path) d")
    case .array(let list):
      lines.append("\(path) a \(list.count)")
      for (index, node) in list.enumerated() { add(node, "\(path)/\(index)") }
    case .table(let table): add(table, path)
    }
  }
  func add(_ table: TOMLTable, _ path: String) {
    lines.append("\(path) t \(table.entries.count)")
    for entry in table.entries { add(entry.node, "\(path)/k\(entry.key.hexDigits)") }
  }
  guard let root = try? TOMLReader.read(text) else { return nil }
  add(root, "")
  return lines.sorted()
}

extension Bytes {
  fileprivate var hexDigits: String { map { String($0 + 0x100 as UInt16, radix: 16).dropFirst() }.joined() }
}

extension UInt16 {
  fileprivate static func + (a: UInt8, b: UInt16) -> UInt16 { UInt16(a) + b }
}

/// One that has tomllib, of 3.11.
private let pythonPath: Bytes? = {
  guard let found = Command.find("python3"), let run = try? Command(Raw(found), ["-c", "import tomllib"]).run() else {
    return nil
  }
  return run.succeeded ? found : nil
}()

@Suite(.enabled(if: pythonPath != nil, "Python 3.11 is not there")) struct TOMLTests {
  static let documents: [String] = [
    "", "# only a comment", "a = 1\r\nb = 2\n", "a=1 # c\n[t] # d\nb = 'x'",
    "s = \"a\\tb\\\"c\\\\ \\u00e9 \\U0001F600\"", "s = 'C:\\\\x'",
    "s = \"\"\"\none\n two\\\n   three \"quoted\" \"\"\"\"\"",
    "s = '''\n'a' ''b'''''", "s = \"\"", "s = \"\"\"\"\"\"", "s = ''", "\"a b\" = 1\n'c.d' = 2\n\"\" = 3",
    "i = [0, +1, -2, 1_000, 0xDEAD_beef, 0o17, 0b1010, -9223372036854775808, 9223372036854775807]",
    "f = [1.5, -0.0, 1e3, 6.02E+23, 1_0.0_1e-0_2, inf, -inf, nan, +0.5]", "b = [true, false]",
    "d = [1979-05-27, 1979-05-27T07:32:00Z, 1979-05-27 07:32:00.5-07:00, 07:32:00, 1979-05-27T07:32:00]",
    "a = [[1, 2], [\"x\", 'y'], [], [ # c\n 3,\n ]]", "t = { a = 1, b.c = 2, \"d e\" = { f = [] } }\nu = {}",
    "a.b.c = 1\na.b.d = 2\na . e = 3", "[a]\nb = 1\n[a.c]\nd = 2\n[x.y.z]\n[x]\nw = 1",
    "[[l]]\nn = 1\n[[l]]\nn = 2\n[l.s]\nx = 1\n[[l.m]]\n[[l.m]]",
    "[ a . 'b' ]\nc = 1", "1 = 2\n1.2 = 3", "-_-=1",
    // No TOML.
    "a", "a =", "= 1", "a = 1 b = 2", "a = 1\na = 2", "[a]\n[a]", "a = 1\n[a]", "[a]\nb = 1\n[a.b]", "a = {}\n[a.b]",
    "a = []\n[[a]]",
    "[[a]]\n[a]", "[a]\n[[a]]", "a.b = 1\n[a]", "a = {b = 1}\na.c = 2", "a = { b = 1, }", "a = { b = 1\n}", "a = [1 2]",
    "a = [1,,2]", "a = [",
    "a = \"x", "a = 'x\n'", "a = \"\\x\"", "a = \"\\ud800\"", "a = \"\u{1}\"", "a = 01", "a = 1__0", "a = _1", "a = 1_",
    "a = 0x", "a = 0xG", "a = -0x1",
    "a = 1.", "a = .5", "a = 1e", "a = 1.e3", "a = True", "a = yes", "a = 1979-13-01", "a = 1979-02-30", "a = 24:00:00",
    "a = 9999999999999999999",
    "[a", "[]", "[a.]", "[[a]", "a..b = 1", "a.b.c = 1\na.b = 2", "[a.b.c]\n[a]\nb.c.d = 1", "\"\"\"a\"\"\" = 1",
    "a = 1\rb = 2", "a = \"\"\"x", "a.b = 1\na.b.c = 2",
    "\u{FEFF}a = 1", "a = 1 # \u{7F}", "a = '\u{0}'",
  ]

  /// What Python makes of each document: the same lines, or nothing.
  private static func python(_ texts: [Bytes]) throws -> [[String]?] {
    let script = """
      import sys, json, struct, tomllib
      def flat(v, p, out):
        if isinstance(v, dict):
          out.append(f"{p} t {len(v)}")
          for k, w in v.items(): flat(w, f"{p}/k{k.encode().hex()}", out)
        elif isinstance(v, list):
          out.append(f"{p} a {len(v)}")
          for i, w in enumerate(v): flat(w, f"{p}/{i}", out)
        elif isinstance(v, bool): out.append(f"{p} b {str(v).lower()}")
        elif isinstance(v, int):
          if not -2**63 <= v < 2**63: raise ValueError(v)
          out.append(f"{p} i {v}")
        elif isinstance(v, float): out.append(f"{p} f " + ("nan" if v != v else str(struct.unpack(">Q", struct.pack(">d", v))[0])))
        elif isinstance(v, str): out.append(f"{p} s {v.encode().hex()}")
        else: out.append(f"{p} d")
      for line in sys.stdin.buffer.read().split():
        out = []
        try:
          flat(tomllib.loads(bytes.fromhex(line.decode()[1:]).decode()), "", out)
          print(json.dumps(sorted(out)))
        except (ValueError, RecursionError): print("null")
      """
    let input = Bytes(texts.map { "x" + $0.hexDigits }.joined(separator: "\n").utf8)
    let output = try Command(Raw(pythonPath ?? []), ["-c", Raw(script)], input: input, timeout: 120).run().checked()
    return try output.lines.map { try JSONDecoder().decode([String]?.self, from: Data($0.utf8)) }
  }

  @Test func everyDocumentIsReadAsPythonReadsIt() throws {
    let texts = Self.documents.map { Bytes($0.utf8) }
    for (text, wanted) in zip(texts, try Self.python(texts)) {
      #expect(flat(text) == wanted?.sorted(), "\(text.shown)")
    }
  }

  @Test func soIsWhatChanceMakesOfThem() throws {
    var random = Random(label: "toml")
    let pieces = Self.documents.map { Bytes($0.utf8) }
    let signs = Bytes("\"'[]{}=.,#\\ \n\r\t01_-+eEtTxXzZ:aA\u{7f}é".utf8)
    let texts = (0..<4000).map { _ -> Bytes in
      var text = random.once(in: 2) ? random.pick(pieces) : random.pick(pieces) + [10] + random.pick(pieces)
      for _ in 0..<random.number(in: 1...3) where !text.isEmpty {
        let place = random.below(text.count)
        switch random.below(3) {
        case 0: text.remove(at: place)
        case 1: text.insert(random.pick(signs), at: place)
        default: text[place] = random.pick(signs)
        }
      }
      return text
    }
    for (text, wanted) in zip(texts, try Self.python(texts)) {
      #expect(flat(text) == wanted?.sorted(), "\(text.shown.debugDescription), python: \(wanted == nil ? "no" : "yes")")
    }
  }

  @Test func whatLiesDeepEndsInAMistake() {
    for text in [
      "a = " + String(repeating: "[", count: 100_000), "a = " + String(repeating: "{a=", count: 100_000),
      String(repeating: "a.", count: 100_000) + "a = 1", "[" + String(repeating: "a.", count: 100_000) + "a]",
    ] {
      #expect(throws: TOMLMistake.self) { try TOMLReader.read(Bytes(text.utf8)) }
    }
  }
}
