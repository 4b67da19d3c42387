/// Sources as the user names them, made absolute.
import Posix
import SheafCore

enum Sources {
  /// Bytes of a file of patterns or of sources.
  static let listLimit = 16 << 20

  /// As `absolute`, of what may be `FROM=AS` as well: then `from` is a folder that is there, and `as` an absolute path.
  /// What is there under the whole name is taken as it is.
  static func mapped(_ given: [Bytes]) throws -> (sources: [Bytes], mappings: [SourceMapping]) {
    var sources: [Bytes] = []
    var mappings: [SourceMapping] = []
    for text in given {
      guard let (from, recorded) = try halves(text) else {
        sources += try absolute([text])
        continue
      }
      let mapping = SourceMapping(
        from: relative((try? Host.resolved(from)) ?? from), recorded: relative(recorded))
      guard !mappings.contains(where: { $0.recorded == mapping.recorded }) else {
        throw Failure(.usage, "two folders are to be saved as \(Show.path([47] + mapping.recorded))")
      }
      sources.append(mapping.recorded)
      if mapping.from != mapping.recorded { mappings.append(mapping) }
    }
    return (sources, mappings)
  }

  private static func halves(_ text: Bytes) throws -> (Bytes, Bytes)? {
    guard text.contains(UInt8(ascii: "=")), !isThere(try absolute([text])[0]) else { return nil }
    let marks = text.indices.filter { index in
      text[index] == UInt8(ascii: "=") && index > 0 && text[(index + 1)...].first == 47
    }
    let isFolder = { (path: Bytes) in (try? Descriptor.open(path, [.pathOnly, .directory])) != nil }
    // Where there are several, the folder that is there decides.
    guard let mark = marks.first(where: { isFolder(Bytes(text[..<$0])) }) ?? marks.first else { return nil }
    let recorded = Bytes(text[(mark + 1)...])
    let parts = recorded.split(separator: 47)
    guard !parts.isEmpty, !parts.contains([46]), !parts.contains([46, 46]) else {
      throw Failure(
        .usage, "nothing can be saved as \(Show.path(recorded))", hint: "FROM=AS, as in /mnt/snapshot/home=/home")
    }
    return (Bytes(text[..<mark]), recorded)
  }

  /// Without the leading slash. Symbolic links on the way are followed, one at the end is itself the source unless the
  /// name ends with a slash, as with tar and rsync. What is not there keeps the name it was given.
  static func absolute(_ given: [Bytes]) throws -> [Bytes] {
    var result: [Bytes] = []
    for source in given {
      guard !source.isEmpty else {
        throw Failure(.usage, "a source's name is empty", hint: "'.' is the folder you are in")
      }
      let absolute = source.first == 47 ? source : try currentDirectory().joined(source)
      let parts = absolute.split(separator: 47).filter { $0 != [46] }
      let last = parts.last.map { Bytes($0) } ?? []
      if source.last == 47 || last == Bytes("..") || last.isEmpty || source == Bytes(".")
        || source.suffix(2) == [47, 46]
      {
        result.append(relative((try? Host.resolved(absolute)) ?? absolute))
        continue
      }
      let parent = [47] + parts.dropLast().joined(separator: [47])
      let resolved = (try? Host.resolved(Bytes(parent))) ?? Bytes(parent)
      result.append(relative(resolved).joined(last))
    }
    return result
  }

  /// Whether the file system has it now, as an absolute path without the leading slash.
  static func isThere(_ path: Bytes) -> Bool {
    let (parent, name) = path.splitAtName
    return (try? Descriptor.open([47] + parent, [.pathOnly, .directory]).status(of: name)) != nil
  }

  private static func relative(_ path: Bytes) -> Bytes { Bytes(path.split(separator: 47).joined(separator: [47])) }

  private static func currentDirectory() throws -> Bytes {
    do throws(SystemError) { return try Host.resolved(Bytes(".")) } catch { throw Failure(error) }
  }

  /// A file's contents; `-` is standard input. Throws `usage` where that is more than `limit` bytes: a device or a pipe
  /// need not end.
  static func read(_ path: Bytes, atMost limit: Int) throws -> Bytes {
    let text: Bytes
    do throws(SystemError) {
      let file = path == Bytes("-") ? Descriptor.standardInput : try Descriptor.open(path, .read)
      text = try file.readAll(atMost: limit + 1)
    } catch { throw Failure(error) }
    guard text.count <= limit else { throw Failure(.usage, "\(Show.path(path)) holds more than \(Words.size(limit))") }
    return text
  }
}
