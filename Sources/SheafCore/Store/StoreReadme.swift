/// The page on every store for a person who has never heard of Sheaf.
enum StoreReadme {
  static let text = """
    This directory holds backups made by the program Sheaf. They are ordinary archives (tar, compressed with gzip),
    and you do not need Sheaf to get your files back.

    Every directory here is one series of backups, most often of one computer. In it, each backup is a pair of files,
    named after the moment it was made, in UTC:

      2026-11-24T060000Z-full.tar.gz     everything, as it was then
      2026-11-24T060000Z-full.mtree.gz   the list of what belongs to it (a text, compressed with gzip)
      2026-11-25T060000Z-incr.tar.gz     only what was new or changed since the backup before it
      2026-11-25T060000Z-incr.mtree.gz   the list of that, and of what was gone by then

    A "diff" holds what changed since the last "full". An archive without its list, or whose name ends in .partial, was
    interrupted: pass over it. A large archive may be in pieces, .tar.gz.001, .tar.gz.002 and so on. If there are
    several of the same moment, as a ...-full-2 beside a ...-full or a ...-incr, the highest number counts. (A list
    ...-incr-2.mtree.gz without an archive of that name belongs to the archive that it names at its end.) A file that
    ends in .pruned is on its way out, and one that ends in .protected only marks a backup that shall stay.


    TO GET EVERYTHING BACK, use the script restore.sh that lies here. It works on Linux, macOS and the BSDs, needs
    nothing but what is there (sh, awk, tar, gzip), and never writes to this drive. Run it as root, or the files will
    all be yours instead of their owners'. The directory must be new or empty:

      sudo sh restore.sh --to /tmp/restored                      the newest backup
      sudo sh restore.sh --to /tmp/restored --at 2026-11-25      as it was at the end of that day (UTC)

    If there are several series, add --series NAME. Files come out under their full path, for example in
    /tmp/restored/home/me. The script checks everything first and says what is missing or damaged.


    ONE FILE needs no script. Look for it from the newest archive backwards, and unpack it from the first that has it:

      tar -tzf NAME.tar.gz | grep letter.txt
      tar -xzf NAME.tar.gz home/me/letter.txt

    (If the archive is in pieces: cat NAME.tar.gz.* | tar -tzf - and so on.)


    WITHOUT THE SCRIPT, GNU tar can do the same. Make an EMPTY directory, never one with files in it: what does not
    belong to the backup is deleted there. As root, unpack the newest "full" that is not after the wanted moment, then
    every "incr" after it, oldest first, up to that moment (or, of "diff"s, only the last, then each "incr" after it).
    What a backup builds on stands at the top of its list, after "# parent:".

      mkdir /tmp/restored
      cd /tmp/restored
      tar --xattrs --xattrs-include='*' --acls --numeric-owner -p -g /dev/null -xzf /drive/SERIES/NAME.tar.gz

    repeating the last line for each archive, in this order and without leaving one out. The option -g /dev/null lets
    tar delete what had been deleted by then, and rename what had been renamed. One thing it cannot know: where of a
    file above 1 MiB only mode, owner, time or attributes changed, they stand in the list alone, and the script sets
    them (files with "m" among the last words of their lines).

    To see what a backup holds: gzip -dc NAME.mtree.gz | less. At the list's end stand the size and the SHA-256 digest
    of each archive file, to be compared with what sha256sum says.

    Please change nothing in here: later backups build on earlier ones.

    """
}
