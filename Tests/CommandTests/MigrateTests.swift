/// Every line of sheaf-migrate(7) that begins with the program's name, one after the other, in folders of our own.
import Foundation
import Posix
import TestSupport
import Testing

@Suite struct MigrateTests {
  private static let page = Bytes(#filePath.utf8).splitAtName.parent.joined(Bytes("../../man/sheaf-migrate.7"))

  @Test func everyLineOfThePageRuns() throws {
    let page = try Bytes.read(Self.page).shown.split(separator: "\n").map(String.init)
    let lines = page.filter { $0.hasPrefix("sheaf ") }
    #expect(lines.count > 30)
    let scratch = try Scratch()
    let script: Raw = """
      mkdir -p home/ann/letters mnt/snap/ann media/blue media/red bin
      echo dear >home/ann/letters/june.txt; echo snap >mnt/snap/ann/x; echo '*.tmp' >list
      for day in 1 2; do tar -czg level -f 2024-05-0$day.tar.gz home/ann; done; tar -cf ann.tar -C home/ann .
      (umask 077; echo a passphrase >pass); printf '%s\\0' "$PWD/home/ann/letters" >names
      printf '#!/bin/sh\\necho a dump\\n' >bin/pg_dump; chmod +x bin/pg_dump
      """
    try Command("sh", ["-ec", script], in: scratch.path).run().checked()
    let program = try Command.sheafBinary()
    let environment: [String: Raw?] = [
      "PATH": "\(scratch.path("bin")):/usr/bin:/bin", "HOME": Raw(scratch.path), "XDG_STATE_HOME": Raw?.none,
      "XDG_CONFIG_HOME": Raw?.none, "XDG_CACHE_HOME": Raw?.none, "SHEAF_STORE": Raw?.none,
    ]
    let root = scratch.path.shown
    for line in lines {
      var words = "'\(program.shown)'" + line.dropFirst("sheaf".count)
      for place in ["/media/", "/home/", "/mnt/"] {
        words = words.replacingOccurrences(of: " \(place)", with: " \(root)\(place)")
      }
      // Names in a store have no slash in front.
      words = words.replacingOccurrences(of: " home/ann", with: " \(root.dropFirst())/home/ann")
      words = words.replacingOccurrences(of: "=/home/ann", with: "=\(root)/home/ann")
      let output = try Command("sh", ["-c", Raw(words)], environment: environment, in: scratch.path, timeout: 60).run()
      #expect(output.status == 0, "\(line): \(output)")
    }
    #expect(try scratch.read("june.txt") == Bytes("dear\n".utf8))
    let back = scratch.path("again").joined(Bytes(scratch.path.dropFirst())).joined(Bytes("home/ann/letters/june.txt"))
    #expect(try Bytes.read(back) == Bytes("dear\n".utf8))
  }
}
