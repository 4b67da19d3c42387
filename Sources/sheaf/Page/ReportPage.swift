/// One page on a store, which needs nothing but itself: no network, no script.
import Posix
import SheafCore

struct ReportPage {
  let store: Store
  let all: [Overview]
  /// Whether names of what was saved may stand in it.
  let names: Bool
  let now: Timestamp

  /// By this a page of ours is known.
  static let generator = "<meta name=\"generator\" content=\"sheaf\">"

  private var title: String {
    if !store.label.isEmpty { return "Backups on \(HTML.path(store.label))" }
    // An address or a mount point tells of people and machines.
    return names ? "Backups in \(HTML.path(store.path))" : "Encrypted backups"
  }

  var text: String {
    var page = """
      <!DOCTYPE html>
      <html lang="en">
      <head>
      <meta charset="utf-8">
      <meta name="viewport" content="width=device-width, initial-scale=1">
      <meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
      \(Self.generator)
      <title>\(title)</title>
      <style>
      \(PageStyle.css)
      </style>
      </head>
      <body>
      <header>
      <h1>\(title)</h1>
      <p class="soft">As of \(Self.time(now)). \(store.isEncrypted ? "Encrypted." : "Not encrypted.")</p>

      """
    page += navigation
    page += "</header>\n<main>\n"
    for (index, overview) in all.enumerated() { page += section(overview, index) }
    if all.isEmpty { page += "<p>There is no point yet.</p>\n" }
    page += restoring + "</main>\n"
    page += """
      <footer><p>Made by sheaf \(HTML.text(Sheaf.version)). Store \(HTML.text(store.uuid)).</p></footer>
      </body>
      </html>

      """
    return page
  }

  private var navigation: String {
    let series = all.enumerated().map { "<li><a href=\"#s\($0)\">\(HTML.path($1.series))</a></li>" }.joined()
    return "<nav aria-label=\"On this page\"><ul>\(series)<li><a href=\"#restore\">How to restore</a></li></ul></nav>\n"
  }

  private static func time(_ time: Timestamp) -> String { String(Words.time(time).dropLast(3)) }

  // MARK: - A series

  private func section(_ o: Overview, _ index: Int) -> String {
    var text = "<section aria-labelledby=\"s\(index)\">\n<h2 id=\"s\(index)\">Series \(HTML.path(o.series))</h2>\n"
    text += facts(o)
    text += warnings(o)
    if !o.points.isEmpty {
      text += "<h3>What each point added</h3>\n<p class=\"key soft\">"
      text +=
        "<span class=\"f\"></span>full<span class=\"i\"></span>incremental<span class=\"d\"></span>differential</p>\n"
      text += "<div class=\"wide\" tabindex=\"0\" role=\"region\" aria-label=\"What each point added\">"
      text += Charts.added(o.points) + "</div>\n"
      text += table(o)
    }
    if o.points.count > 1 {
      text +=
        "<h3>Size over time</h3>\n<div class=\"wide\" tabindex=\"0\" role=\"region\" aria-label=\"Size over time\">"
      text += Charts.sizes(o.points) + "</div>\n"
    }
    if let folders = o.folders, folders.bytes > 0 { text += largest(folders) }
    return text + "</section>\n"
  }

  private func facts(_ o: Overview) -> String {
    var facts: [(String, String)] = []
    if let last = o.points.last {
      facts.append(("Newest point", Self.time(last.started)))
      facts.append(("Points", "\(Words.count(o.points.count)), the oldest of \(Self.time(o.points[0].started))"))
      facts.append(
        ("In the newest point", "\(Words.count(last.counts.files, "file")), \(Words.size(last.counts.bytes))"))
      facts.append(("All archives take", Words.size(o.points.map(\.added).saturatedSum)))
    }
    if let (share, since, oldest) = o.proofs.coverage {
      let part = share == 1 ? "All of it" : share < 0.01 ? "Less than 1 % of it" : "\(Int(share * 100)) % of it"
      let then = Words.asItWas(oldest, o.points.last?.set.point)
      facts.append(("Really restored", "\(part), since \(Self.time(since))\(then)"))
    } else {
      facts.append(("Really restored", "Nothing yet: <code>sheaf prove</code> does it"))
    }
    if names {
      if !o.host.isEmpty { facts.append(("Made by", HTML.path(o.host))) }
      if !o.sources.isEmpty {
        let shown = o.sources.prefix(20).map { HTML.path([47] + $0) }.joined(separator: ", ")
        facts.append(("Sources", shown + (o.sources.count > 20 ? " and \(o.sources.count - 20) more" : "")))
      }
    }
    return "<dl>" + facts.map { "<div><dt>\($0)</dt><dd>\($1)</dd></div>" }.joined() + "</dl>\n"
  }

  private func warnings(_ o: Overview) -> String {
    var lines: [String] = []
    for finding in o.damage.findings {
      // The message may name a file.
      let what = names ? ": \(HTML.text(finding.message))" : ""
      lines.append(
        "<span class=\"bad\">Damage</span> in \(HTML.text(finding.set.text)), found \(Self.time(finding.found))\(what)")
    }
    for set in o.unreadable { lines.append("<span class=\"bad\">Damage</span>: \(HTML.text(set.text)) cannot be read") }
    if let last = o.proofs.last, !last.isSound {
      lines.append("<span class=\"bad\">Not as it was saved</span>: what was restored on \(Self.time(last.time))")
    }
    if let last = o.points.last, last.counts.unseen > 0 {
      let first = o.unseen.prefix(20).map { HTML.path([47] + $0) }.joined(separator: ", ")
      lines.append(
        "<span class=\"warn\">Unseen</span>: the newest run could not look at \(Words.count(last.counts.unseen)) of what it "
          + "should have; their last good copies stay" + (names && !first.isEmpty ? ": \(first)" : ""))
    }
    if lines.isEmpty { return "<p class=\"good\">No damage is known.</p>\n" }
    return "<ul>" + lines.map { "<li>\($0)</li>" }.joined(separator: "\n") + "</ul>\n"
  }

  private func table(_ o: Overview) -> String {
    var text = """
      <h3>All points</h3>
      <div class="wide tall" tabindex="0" role="region" aria-label="All points">
      <table><thead><tr><th scope="col">Point</th><th scope="col">Kind</th><th scope="col" class="num">Files</th>\
      <th scope="col" class="num">Size</th><th scope="col" class="num">Added</th><th scope="col">Notes</th></tr></thead>
      <tbody>

      """
    for point in o.points.reversed() {
      var notes: [String] = []
      if point.isDamaged { notes.append("<span class=\"bad\">damaged</span>") }
      if point.isIncomplete { notes.append("<span class=\"warn\">incomplete</span>") }
      if point.counts.unseen > 0 { notes.append("\(Words.count(point.counts.unseen)) unseen") }
      if point.counts.torn > 0 { notes.append("\(Words.count(point.counts.torn)) changed while read") }
      if point.isProtected { notes.append("protected") }
      // A long one would make the page long.
      if names, !point.comment.isEmpty { notes.append(HTML.path(Bytes(point.comment.prefix(200)))) }
      text +=
        "<tr><th scope=\"row\">\(Self.time(point.started))</th><td>\(point.set.kind.rawValue)</td><td class=\"num\">\(Words.count(point.counts.files))</td><td class=\"num\">\(Words.size(point.counts.bytes))</td><td class=\"num\">\(Words.size(point.added))</td><td class=\"name\">\(notes.joined(separator: ", "))</td></tr>\n"
    }
    return text + "</tbody></table></div>\n"
  }

  private func largest(_ top: FolderSize) -> String {
    // What only leads to what was saved is not worth an area.
    var (path, start) = (Bytes(), top)
    while start.folders.count == 1, let only = start.folders.first, only.bytes == start.bytes {
      (path, start) = (path.joined(only.name), only)
    }
    var rows: [(path: Bytes, size: FolderSize)] = []
    func collect(_ folder: FolderSize, _ path: Bytes) {
      for below in folder.folders {
        rows.append((path.joined(below.name), below))
        collect(below, path.joined(below.name))
      }
    }
    collect(start, path)
    rows.sort { $0.size.bytes > $1.size.bytes }
    var text = "<h3>Largest folders in the newest point</h3>\n"
    if !path.isEmpty { text += "<p class=\"soft\">In \(HTML.path([47] + path)):</p>\n" }
    text +=
      "<div class=\"wide\" tabindex=\"0\" role=\"region\" aria-label=\"Largest folders\">\(Charts.folders(start))</div>\n"
    guard !rows.isEmpty else { return text }
    text += """
      <div class="wide" tabindex="0" role="region" aria-label="Largest folders, as a table">
      <table><thead><tr><th scope="col">Folder</th><th scope="col" class="num">Size</th>\
      <th scope="col" class="num">Files</th></tr></thead>
      <tbody>

      """
    for (path, size) in rows.prefix(15) {
      text +=
        "<tr><th scope=\"row\" class=\"name\">\(HTML.path([47] + path))</th><td class=\"num\">\(Words.size(size.bytes))</td><td class=\"num\">\(Words.count(size.files))</td></tr>\n"
    }
    return text + "</tbody></table></div>\n"
  }

  // MARK: - How to get it back

  /// Of a longer chain, the first and the last ones are named.
  private static let fewArchives = 12

  private var restoring: String {
    func code(_ lines: [String]) -> String { "<pre><code>\(HTML.text(lines.joined(separator: "\n")))</code></pre>\n" }
    // Whoever reads it is in any folder.
    let place = names ? Show.word((try? Host.resolved(store.path)) ?? store.path) : "STORE"
    let series = all.first.map { Show.word($0.series) } ?? "SERIES"
    let option = all.count > 1 ? " --series \(series)" : ""
    let key = store.isEncrypted ? " --key KEYFILE" : ""
    var text = "<section aria-labelledby=\"restore\">\n<h2 id=\"restore\">How to restore</h2>\n<h3>With Sheaf</h3>\n"
    text += code([
      "sheaf restore -s \(place)\(option) --to /tmp/restored",
      "sheaf restore -s \(place)\(option) --at 3d --to /tmp/restored PATH",
      "sheaf mount -s \(place)\(option) DIR",
    ])
    text += "<h3>Without Sheaf, with the script on the store</h3>\n"
    text += code(["sh restore.sh\(key) --series \(series) --to /tmp/restored"])
    text +=
      "<h3>By hand</h3>\n<p>The newest full set that is not after the moment you want, then each incremental one after it up "
    text += "to that moment, in this order, into an <strong>empty</strong> folder, as root:</p>\n"
    let tar = "tar -C /tmp/restored --xattrs --xattrs-include='*' --acls --numeric-owner -p -g /dev/null -xz"
    let archives = all.first?.archives ?? []
    let shown = archives.count <= Self.fewArchives ? archives : archives.prefix(2) + archives.suffix(2)
    var lines = shown.map { volumes in
      let names = volumes.map { Show.word($0) }
      if store.isEncrypted {
        let opened = names.map { "age -d -i KEYFILE \($0)" }
        return "\(opened.count == 1 ? opened[0] : "{ \(opened.joined(separator: "; ")); }") | \(tar)f -"
      }
      return names.count == 1 ? "\(tar)f \(names[0])" : "cat \(names.joined(separator: " ")) | \(tar)f -"
    }
    if shown.count < archives.count {
      lines.insert("# and so on: \(Words.count(archives.count - shown.count, "archive")) more", at: 2)
    }
    if !lines.isEmpty {
      text += "<p>For the newest point, in the series' folder:</p>\n" + code(["mkdir /tmp/restored"] + lines)
    }
    return text + "<p>README.txt on the store says more.</p>\n</section>\n"
  }
}
