/// The manual pages: what a reader sees of them, and whether they know every command and option.
import Foundation
import Posix
import TestSupport
import Testing

@Suite struct ManualTests {
  private static let folder = Bytes(#filePath.utf8).splitAtName.parent.splitAtName.parent.splitAtName.parent.joined(
    Bytes("man"))

  private func rendered(_ page: String) throws -> String {
    let command: Raw = "mandoc -Tutf8 \"$0\" | col -b"
    return try Command("sh", ["-ec", command, Raw(Self.folder.joined(Bytes(page.utf8)))]).run().checked().text
  }

  @Test(.enabled(if: Command.find("mandoc") != nil && Command.find("col") != nil, "needs mandoc and col"))
  func marksAndQuotesStandAsTheyAreMeant() throws {
    let pages = try ["sheaf.1", "sheaf-format.5", "sheaf-encryption.7", "sheaf-stores.7"].map(rendered)
    for mark in ["+", "-", "~", ">", "!"] { #expect(pages[0].contains("\n     ‘\(mark)’\n")) }
    #expect(pages[1].contains("‘system.posix_acl_default’"))
    for page in pages {
      #expect(!page.contains("’’") && !page.contains("‘‘") && !page.contains("‘’"))
      // A macro that was taken for text.
      let macros = page.split { " \n".contains($0) }.filter { ["Ql", "Fl", "Ar", "Pa", "Cm", "Xr", "Ev"].contains($0) }
      #expect(macros == [])
    }
  }

  @Test func everyCommandAndOptionIsThere() throws {
    let page = try Bytes.read(Self.folder.joined(Bytes("sheaf.1"))).shown
    let commands = try Command.sheafCommands()
    #expect(commands.count > 15)
    for command in commands {
      #expect(page.contains("\n.Ss \(command)\n"), "\(command)")
      for line in try Command.sheaf([Raw(command), "--help"]).run().checked().lines where line.hasPrefix("  -") {
        for word in line.split(whereSeparator: { " ,".contains($0) }).prefix(2) where word.hasPrefix("--") {
          let isThere = [" -", " Fl -"].contains { page.contains("\($0)\(word.dropFirst(2))") }
          #expect(isThere, "\(command) \(word)")
        }
      }
    }
  }
}
