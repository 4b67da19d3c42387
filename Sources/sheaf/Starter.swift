/// The file of plans that one begins with. Lines that begin with `#` and a letter are examples that hold as they are.
import Posix
import SheafCore

struct Starter {
  var sources: [Bytes] = []
  /// nil: it is still to be named.
  var store: Bytes?
  var mail: Bytes?

  static let someStore = Bytes("/media/backup/sheaf")

  static var usualSources: [Bytes] {
    if Host.isRoot { return [Bytes("/etc"), Bytes("/home"), Bytes("/root")] }
    return [Host.environment("HOME").flatMap { $0.first == 47 ? $0 : nil } ?? Bytes("/home")]
  }

  /// A basic string of TOML.
  static func quoted(_ text: Bytes) -> String {
    var result = "\""
    for scalar in text.shown.unicodeScalars {
      switch scalar {
      case "\"", "\\": result += "\\\(scalar)"
      case _ where Show.isPrintable(scalar): result.unicodeScalars.append(scalar)
      default:
        let digits = String(scalar.value, radix: 16)
        result += "\\U" + String(repeating: "0", count: 8 - digits.count) + digits
      }
    }
    return result + "\""
  }

  var text: Bytes {
    let folders = sources.map { Self.quoted($0) }.joined(separator: ", ")
    let place = Self.quoted(store ?? Self.someStore)
    let told =
      mail.map { "mail = \(Self.quoted($0))" } ?? "#mail = \"root\"                        # by sendmail"
    return Bytes(
      """
      # Plans for sheaf(1). 'sheaf config check' finds mistakes, 'sheaf run' does what is written here, and
      # 'sheaf schedule home daily' makes it do so by itself. The manual page sheaf.toml(5) has every key.

      [plans.home]
      \(store == nil ? "# Your store: a path, sftp://USER@HOST/PATH, or the label of a store that was seen here.\n" : "")store = \(place)
      sources = [\(folders)]
      # Patterns as in a .gitignore.
      exclude = [".cache/", "*.tmp"]
      exclude-caches = true
      # A drive that is not plugged in is no mistake.
      if-missing = "skip"

      #one-file-system = true
      #full-every = "90d"                     # a new chain now and then
      #volume-size = "4G"
      #level = 1                              # 0 to 12
      #prove = "1%"                           # restored for a trial after each run, another part each time
      #report = true                          # a page about the store, index.html on it

      # What commands print becomes files.
      #[plans.home.commands]
      #"/dumps/shop.dump" = "pg_dump -Fc -Z0 shop"

      # What stays; everything does where there is no rule.
      [plans.home.keep]
      daily = 14
      weekly = 10
      monthly = 12
      fold = true

      [plans.home.check]
      every = "30d"

      # Copies in other stores.
      #[[plans.home.copies]]
      #to = "sftp://me@nas/backups/me"
      #if-missing = "skip"

      #[plans.home.hooks]
      #before = "lvcreate -s -n snap -L 5G vg/home && mount /dev/vg/snap /mnt/snap"
      #after = "umount /mnt/snap; lvremove -f vg/snap"
      #on-failure = "logger 'backup failed'"
      #time-limit = "10m"

      # Who is told when something fails, or when nothing has been heard for long.
      \(mail == nil ? "#" : "")[plans.home.tell]
      \(mail == nil ? "#" : "")silence = "7d"
      \(told)
      #desktop = true                       # a message on the desktop
      #url = "https://hc-ping.com/your-uuid"  # fetched after each run; with /fail where it failed

      """.utf8)
  }
}
