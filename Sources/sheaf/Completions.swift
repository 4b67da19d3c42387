/// What a shell proposes for words that only this machine's memory knows: no store is asked, so it takes no time and needs
/// no drive.
import Posix
import SheafCore

enum Completions {
  /// Of the store on the command line where it is a known one, else of all.
  private static func known(_ words: [String]) -> [KnownStore] {
    let all = Memory.stores?.all() ?? []
    guard let text = value(of: ["-s", "--store"], words).map({ Bytes($0.utf8) }) ?? Host.environment("SHEAF_STORE")
    else {
      return all
    }
    let place = (try? Host.resolved(text)) ?? text
    let named = all.filter { $0.path == place }
    return named.isEmpty ? all : named
  }

  private static func value(of options: [String], _ words: [String]) -> String? {
    words.lastIndex { options.contains($0) }.flatMap { $0 + 1 < words.count ? words[$0 + 1] : nil }
  }

  static func series(_ words: [String], _: Int, _: String) -> [String] {
    Set(known(words).flatMap(\.series).map { Show.path($0.name) }).sorted()
  }

  static func points(_ words: [String], _: Int, _: String) -> [String] {
    let wanted = value(of: ["--series"], words)
    let series = known(words).flatMap(\.series).filter { wanted == nil || Show.path($0.name) == wanted }
    return ["latest"] + Set(series.flatMap(\.points).map(\.point)).sorted(by: >)
  }

  static func labels(_ words: [String], _: Int, _: String) -> [String] {
    (Memory.stores?.all() ?? []).map { $0.label.isEmpty ? String($0.uuid.prefix(8)) : Show.path($0.label) }
  }
}
