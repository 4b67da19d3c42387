/// The page on every store for a person who has never heard of Sheaf.
enum StoreReadme {
  static let text = """
    This directory holds backups made by the program Sheaf. They are ordinary tar archives; you do not need
    Sheaf to get your files back.

    Every folder here is one series of backups. In it, each backup is a pair of files named after the moment it
    was made, in UTC:

      2026-11-24T060000Z-full.tar.gz     everything, as it was then
      2026-11-24T060000Z-full.mtree.gz   a list of what it holds (text, compressed with gzip)
      2026-11-25T060000Z-incr.tar.gz     what had changed since the backup before it

    To get everything back as it was at one moment, take the newest "full" not after that moment and every
    "incr" after it up to that moment, and unpack them in this order into an EMPTY directory. With GNU tar, as root:

      mkdir /tmp/restored && cd /tmp/restored
      for archive in /path/to/*-full.tar.gz /path/to/*-incr.tar.gz; do
        tar --xattrs --xattrs-include='*' --acls --numeric-owner -p -g /dev/null -xzf "$archive"
      done

    The option -g /dev/null makes tar delete what had been deleted. Files come out below their full path
    (home/me/letter.txt). An archive in pieces (.tar.gz.001, .002, ...) is put together with
    cat NAME.tar.gz.* > NAME.tar.gz. To look into an archive: tar tzvf NAME.tar.gz

    The script restore.sh beside this file does all this by itself:

      sh restore.sh --series NAME --to DIRECTORY [--at 2026-11-25]

    """
}
