/// `sheaf mount`: the points as folders, to look around in with any program.
import ArgumentParser
import Fuse
import Posix
import SheafCore

struct MountCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "mount", abstract: "Show the points as folders, read only.",
    usage: "sheaf mount -s STORE [--allow-other] DIR",
    discussion: """
      Runs until ^C, or until 'fusermount3 -u DIR' (umount for root). DIR then holds: latest, the newest point; \
      points/2026-11-24T060000Z, all of them; by-day/2026-11-24, the last one of each day; versions/PATH, of every path \
      of all points: of a file each version once, as versions/home/me/june.txt/2026-11-24T060000Z.txt.
      """)

  @OptionGroup var store: StoreOptions

  @Flag(help: "Let other users look, with the rights they had on the files.")
  var allowOther = false

  @Argument(help: ArgumentHelp("An empty folder.", valueName: "DIR"))
  var directory: RawText

  @OptionGroup var output: OutputOptions

  /// Threads that answer: while one waits for a drive or a network the others go on.
  private static let threads = 4

  func run() throws {
    let series = try store.openSeries()
    let directory = directory.bytes
    try checkDirectory(directory)
    let view = try SeriesView(
      series, spilling: Host.spillDirectory, owner: (Host.userID, Host.groupID), report: { Console.shared.warning($0) })
    let mount = try mount(on: directory)
    let server = FuseServer(mount, view, forOthers: allowOther)
    server.start(threads: Self.threads)
    tell(mount, series)
    while Interruption.progress.goesOn, view.ended == nil, !server.isUnmounted {
      server.rest()
      view.rest()
    }
    // A thread that waits for a store which hangs is not waited for.
    if !server.isUnmounted { mount.unmount() }
    if let failure = view.ended { throw failure }
  }

  private func checkDirectory(_ directory: Bytes) throws {
    let names: [Bytes]
    do throws(SystemError) {
      names = try Descriptor.open(directory, [.read, .directory]).sortedNames()
    } catch { throw Failure(error, hint: Self.hint(error, directory)) }
    if names.isEmpty { return }
    let path = (try? Host.resolved(directory)) ?? directory
    guard MountTable.current()?.mount(at: Bytes(path.drop { $0 == 47 })) == nil else {
      throw Failure(
        .failed, "something is mounted at \(Show.path(directory)) already",
        hint: "'fusermount3 -u \(Show.word(directory))' takes away what sheaf has mounted")
    }
    throw Failure(
      .failed, "the folder \(Show.path(directory)) is not empty: what is in it would not be seen",
      hint: "mount on an empty one")
  }

  private static func hint(_ error: SystemError, _ directory: Bytes) -> String? {
    if error.isGone { return "a mount whose program has ended: 'fusermount3 -u \(Show.word(directory))' removes it" }
    if (try? Descriptor.open(directory, .pathOnly)) != nil { return "it is no folder: mount on an empty one" }
    return error.isMissing ? "make it first: mkdir \(Show.word(directory))" : nil
  }

  private func mount(on directory: Bytes) throws -> FuseMount {
    do throws(FuseMount.Failure) { return try FuseMount.make(on: directory, forOthers: allowOther) } catch {
      switch error {
      case .noDevice(let error):
        throw Failure(
          error, hint: "'modprobe fuse' loads it; a container must be given /dev/fuse. 'sheaf ls' and 'cat' need none")
      case .noHelper:
        throw Failure(
          .failed, "cannot mount on \(Show.path(directory)): the program fusermount3 is not installed",
          hint: "it is in the package fuse3; root needs none")
      case .refused(let words):
        throw Failure(
          .failed, "cannot mount on \(Show.path(directory)): \(words.isEmpty ? "fusermount3 failed" : Show.path(words))"
        )
      case .system(let error): throw Failure(error, hint: Self.hint(error, directory))
      }
    }
  }

  private func tell(_ mount: FuseMount, _ series: Series) {
    if output.json {
      var json = JSON("mounted")
      json.add("path", mount.path)
      json.add("series", series.name)
      json.print()
    } else if !output.quiet {
      Console.shared.line("\(Show.path(series.name)) is mounted at \(Show.path(mount.path)); press ^C to unmount")
    }
    Console.shared.flush()
  }
}
