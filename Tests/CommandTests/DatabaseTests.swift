/// Real databases, dumped by the commands that the manual gives and restored by their own programs.
import Glibc
import Posix
import TestSupport
import Testing

struct DatabaseTests {
  @Test func sqlite() throws {
    guard Command.find("sqlite3") != nil else { return print("SQLite was not tried: sqlite3 is not installed") }
    let f = try Fixture(TestTree(["a": .file("text\n")]))
    let database = f.source.joined(Bytes("app.db"))
    func sql(_ database: Bytes, _ text: Raw) throws -> String {
      try Command("sqlite3", [Raw(database), text]).run().checked().text
    }
    _ = try sql(database, "CREATE TABLE t(n INTEGER PRIMARY KEY, v TEXT); INSERT INTO t(v) VALUES('one'),('two');")
    let command: Raw = """
      /dumps/app.db=d=$(mktemp -d) && sqlite3 '\(database)' ".backup '$d/db'" && cat "$d/db"; e=$?; rm -r "$d"; exit $e
      """
    let backup: [Raw] = ["--exclude", "app.db*", "--command", command]
    try f.save(backup)
    let first = try sql(database, "SELECT * FROM t")
    #expect(try f.save(backup).changed == 0)
    _ = try sql(database, "INSERT INTO t(v) VALUES('three'); DELETE FROM t WHERE v = 'one';")
    #expect(try f.save(backup).changed >= 1)
    let last = try sql(database, "SELECT * FROM t")
    for (point, rows) in [(f.points[0], first), (f.newest, last)] {
      let target = try f.restore(["dumps/app.db"], at: point.set)
      #expect(try sql(target.joined(Bytes("dumps/app.db")), "PRAGMA integrity_check; SELECT * FROM t") == "ok\n" + rows)
    }
    // A database that is not there.
    try f.edit("rm app.db")
    #expect(
      try f.save(
        ["--exclude", "app.db*", "--command", "/dumps/app.db=sqlite3 -readonly '\(database)' .dump"], status: 3
      ).unseen == 1)
  }

  /// A private cluster in memory, reached by a socket alone.
  @Test func postgreSQL() throws {
    guard let server = PostgreSQL.programs else { return print("PostgreSQL was not tried: \(PostgreSQL.needs)") }
    let f = try Fixture(TestTree(["a": .file("text\n")]))
    let cluster = try PostgreSQL(server, in: f.scratch)
    defer { cluster.stop() }
    try cluster.run("createdb", ["shop"])
    try cluster.run("psql", ["-q", "-c", "CREATE TABLE item(id int PRIMARY KEY, name text, price numeric)", "shop"])
    try cluster.run(
      "psql", ["-q", "-c", "INSERT INTO item SELECT n, 'item ' || n, n / 7.0 FROM generate_series(1, 20000) n", "shop"])
    let dump: [Raw] = ["--command", "/dumps/shop.dump=\(cluster.shell("pg_dump")) -Fc -Z0 shop"]
    func rows(_ database: Raw) throws -> String {
      try cluster.run(
        "psql",
        [
          "-Atc", "SELECT count(*), sum(price), md5(string_agg(id || name || price, ',' ORDER BY id)) FROM item",
          database,
        ])
    }
    let first = try rows("shop")
    try f.save(dump)
    try cluster.run(
      "psql", ["-q", "-c", "DELETE FROM item WHERE id % 3 = 0; UPDATE item SET name = 'ü' WHERE id = 1", "shop"])
    let second = try rows("shop")
    #expect(try f.save(dump).changed == 1)
    // The server is away: the last good dump stays.
    let away: [Raw] = ["--command", "/dumps/shop.dump=\(cluster.shell("pg_dump")) -Fc nothere"]
    let output = try f.sheaf(["backup", "-q", "-s", Raw(f.store)] + away, status: 3)
    #expect(output.errorText.contains("nothere"), "\(output)")
    for (index, (point, wanted)) in [(f.points[0].set, first), (try f.latest(), second)].enumerated() {
      let target = try f.restore(["dumps/shop.dump"], at: point)
      try Command("chmod", ["-R", "a+rX", Raw(target)]).run().checked()
      let fresh: Raw = "fresh\(index)"
      try cluster.run("createdb", [fresh])
      try cluster.run("pg_restore", ["-d", fresh, "\(target)/dumps/shop.dump"])
      #expect(try rows(fresh) == wanted)
    }
  }
}

/// A server of its own, run by nobody: it refuses to be run by root.
private final class PostgreSQL {
  static let needs = "it needs root, initdb and postgres"
  /// Where its programs are.
  static let programs: Bytes? = {
    guard Host.isRoot, Command.find("runuser") != nil || Command.find("setpriv") != nil else { return nil }
    let folders = (9...30).reversed().map { Bytes("/usr/lib/postgresql/\($0)/bin".utf8) }
    return folders.first { exists($0.joined(Bytes("initdb"))) && exists($0.joined(Bytes("postgres"))) }
  }()

  private let folder: Bytes
  private let programs: Bytes
  private let server: Running

  init(_ programs: Bytes, in scratch: Scratch) throws {
    self.programs = programs
    folder = scratch.path("pg")
    try Descriptor.workingDirectory.makeDirectory(folder)
    try Command("chown", ["nobody", Raw(folder)]).run().checked()
    let data = folder.joined(Bytes("data"))
    try Command(
      Raw(programs.joined(Bytes("initdb"))),
      ["-D", Raw(data), "-A", "trust", "-U", "postgres", "-N", "--no-instructions", "-E", "UTF8", "--locale=C.UTF-8"],
      in: folder, as: .nobody
    ).run().checked()
    server = try Command(
      Raw(programs.joined(Bytes("postgres"))),
      ["-D", Raw(data), "-k", Raw(folder), "-c", "listen_addresses=", "-c", "fsync=off"], in: folder, as: .nobody
    ).start()
    for _ in 0..<100 {
      if (try? run("psql", ["-c", "SELECT 1", "postgres"])) != nil { return }
      usleep(100_000)
    }
    throw Unexpected(description: "PostgreSQL does not start")
  }

  @discardableResult func run(_ program: Raw, _ arguments: [Raw]) throws -> String {
    try Command(
      Raw(programs.joined(program.bytes)), arguments,
      environment: ["PGHOST": Raw(folder), "PGUSER": "postgres", "PGCLIENTENCODING": "UTF8"]
    ).run().checked().text
  }

  /// As words of a shell.
  func shell(_ program: Raw) -> Raw { "PGHOST='\(folder)' PGUSER=postgres '\(programs)/\(program)'" }

  func stop() {
    server.signal(SIGINT)
    _ = server.wait()
  }
}
