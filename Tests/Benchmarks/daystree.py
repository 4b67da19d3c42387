"""The tree of days.py: made from a seed, edited day by day, listed whole and compared.

`make` and `edit` do the same for the same seed, whenever and wherever they run; only times that an edit leaves as the
clock gives them differ. `listing` reads everything of a tree that a backup should bring back, and `differences` tells
two listings apart, by kinds. `prove` damages a copy in every way that `differences` should tell, and fails where it
does not.
"""
import collections
import hashlib
import os
import random
import shutil
import sqlite3
import stat
import struct
import subprocess
from pathlib import Path

CONTENT_KINDS = ("missing", "extra", "other kind", "other content", "other link target")
METADATA_KINDS = ("mode", "owner", "time", "part of a second", "time of a folder", "time of a symbolic link",
                  "hard link", "extended attribute")
RENAMED_ON, KILLED_ON = 3, 4  # the days of a renamed top folder, and of a killed run of each tool
ODD_NAME = "notes/a name\nof two lines.txt"

# Making the tree.


def make(root, seed, scale=1.0):
    """A home folder of some 20,000 files and 400 MB, times `scale`."""
    rng = random.Random(f"tree {seed}")
    prose = Prose(rng)
    root.mkdir(parents=True)

    def count(number):
        return max(4, round(number * scale))

    for number in range(count(7000)):
        folder = root / f"documents/{2016 + number % 9}/project-{number % 173:03}"
        put(folder / f"note-{number:05}.txt", prose.text(rng, 1, 9000))
    for number in range(count(9000)):
        folder = root / f"code/package-{number % 61:02}/source-{number % 7}"
        put(folder / f"file{number:05}.c", prose.text(rng, 200, 9000))
    for number in range(count(2400)):
        put(root / f"mail/cur/{number:06}.eml", prose.text(rng, 800, 12000))
    for number in range(count(1250)):
        put(root / f"photos/20{10 + number % 15}-{number % 12 + 1:02}/IMG_{number:05}.jpg", picture(rng))
    for number in range(2):
        put(root / f"videos/film-{number}.mp4", rng.randbytes(int(40e6 * scale)))
    blocks = (prose.text(rng, 4000, 9000).ljust(16384, b"\0") for _ in range(count(1900)))
    put(root / "machines/disk.img", b"".join(blocks))
    for name in ("app", "web", "mail"):
        put(root / f"log/{name}.log", log_lines(rng, count(14000)))
        for older in range(1, 4):
            put(root / f"log/{name}.log.{older}", log_lines(rng, count(3000)))
    put(root / ODD_NAME, b"a letter\n" * 40)
    (root / "empty folder").mkdir()
    make_database(root / "shop/shop.sqlite", rng, count(24000))

    texts = plain_files(root)
    for number, path in enumerate(rng.sample(texts, count(90))):
        target = (os.path.relpath(path, root / "links"), str(path), "nowhere/at all")[number % 3]
        (root / "links").mkdir(exist_ok=True)
        (root / f"links/link-{number:03}").symlink_to(target)
    for number, path in enumerate(rng.sample(texts, count(60))):
        (root / "linked").mkdir(exist_ok=True)
        os.link(path, root / f"linked/again-{number:03}")
    for path in rng.sample(texts, count(200)):
        os.setxattr(path, "user.comment", rng.randbytes(12).hex().encode())
    os.setxattr(root / "photos", "user.album", b"all years")
    for path in rng.sample(texts, 5):
        os.setxattr(path, "system.posix_acl_access", access_list(1234))
    for path in rng.sample(texts, count(300)):
        path.chmod(rng.choice((0o600, 0o640, 0o755, 0o664)))
        change_owner(path, rng)
    back_in_time(root, rng)


class Prose:
    """Text that deflates as text does, from a pool of paragraphs because Python is slow with words."""

    def __init__(self, rng):
        letters = "etaoinshrdlucmfwypvbgk"
        words = ["".join(rng.choices(letters, range(len(letters), 0, -1), k=rng.randint(2, 9))) for _ in range(5000)]
        weights = [1 / rank for rank in range(1, len(words) + 1)]
        self.paragraphs = [
            (" ".join(rng.choices(words, weights, k=rng.randint(8, 120))) + ".\n").encode() for _ in range(8000)
        ]

    def text(self, rng, least, most):
        size = rng.randint(least, most)
        pieces, length = [], 0
        while length < size:
            pieces.append(rng.choice(self.paragraphs))
            length += len(pieces[-1])
        return b"".join(pieces)[:size]


def put(path, data):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def picture(rng):
    return b"\xff\xd8\xff\xe0\0\x10JFIF\0" + rng.randbytes(rng.randrange(60_000, 240_000))


def log_lines(rng, count):
    def line():
        moment = (rng.randint(1, 30), rng.randrange(24), rng.randrange(60))
        what = (rng.randrange(30000), rng.randrange(10**6), rng.randrange(900))
        return b"2026-11-%02d %02d:%02d host app[%d]: request %d took %d ms\n" % (moment + what)

    return b"".join(line() for _ in range(count))


def make_database(path, rng, rows):
    path.parent.mkdir(parents=True)
    with_database(path, "CREATE TABLE orders (id INTEGER PRIMARY KEY, buyer TEXT, lines BLOB)", [()])
    with_database(path, "INSERT INTO orders (buyer, lines) VALUES (?, ?)", order_rows(rng, rows))


def order_rows(rng, count):
    return [(f"buyer {rng.randrange(5000)}", rng.randbytes(rng.randint(100, 400)).hex()) for _ in range(count)]


def with_database(path, statement, rows):
    database = sqlite3.connect(path)
    with database:
        database.executemany(statement, rows)
    database.close()


def access_list(user):
    """A POSIX ACL that lets one more user read, as acl(5) and the kernel's posix_acl_xattr.h have it."""
    nobody = 0xFFFFFFFF
    entries = ((0x01, 6, nobody), (0x02, 4, user), (0x04, 4, nobody), (0x10, 4, nobody), (0x20, 0, nobody))
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)


def change_owner(path, rng):
    owner = rng.choice(((1000, 1000), (1000, 100), (1001, 1001)))
    if os.geteuid() == 0:
        os.chown(path, *owner)


def back_in_time(root, rng):
    """Times of some years, with parts of a second; folders last, as their times change with what they hold."""
    for directory, folders, files in os.walk(root, topdown=False):
        folders.sort()
        for name in sorted(files) + folders:
            seconds, part = rng.randrange(1_400_000_000, 1_750_000_000), rng.randrange(10**9)
            set_time(os.path.join(directory, name), seconds * 10**9 + part)


def set_time(path, nanoseconds):
    os.utime(path, ns=(nanoseconds, nanoseconds), follow_symlinks=False)


def plain_files(root, *tops):
    """Texts that are neither hard links nor symbolic ones, in an order that is always the same."""
    found = []
    for top in tops or ("documents", "code", "mail"):
        for directory, _, files in os.walk(root / top):
            found += [Path(directory, name) for name in files]
    return sorted(path for path in found if path.lstat().st_nlink == 1 and stat.S_ISREG(path.lstat().st_mode))


# The edits of a day.


def edit(root, seed, day, scale=1.0):
    """What happens to the tree between day - 1 and day."""
    rng = random.Random(f"day {day} {seed}")
    prose = Prose(rng)
    files = plain_files(root)
    rng.shuffle(files)

    def some(number):
        """So many files, times `scale`, that no other edit of the day touches."""
        found = []
        while len(found) < max(1, round(number * scale)):
            path = files.pop()
            found += [path] if path.exists() else []  # its folder may be gone
        return found

    edit_texts(root, rng, prose, some, day)
    edit_times(rng, prose, some)
    edit_metadata(root, rng, some, day)
    edit_kinds(root, rng, prose, some, day)
    edit_logs(root, rng, scale)
    edit_database(root / "shop/shop.sqlite", rng, day, scale)
    edit_pictures(root, rng, day, scale)


def edit_texts(root, rng, prose, some, day):
    for number, beside in enumerate(some(40)):
        put(beside.parent / f"new-{day}-{number}.txt", prose.text(rng, 100, 9000))
    for number in range(12):
        put(root / f"documents/2026/day-{day}/page-{number}.txt", prose.text(rng, 100, 9000))
    for path in some(40):
        with path.open("ab") as out:
            out.write(prose.text(rng, 20, 900))
    for path in some(20):
        overwrite(path, rng)
    for path in some(25):
        path.unlink()
    for number, path in enumerate(some(3)):
        path.rename(root / f"documents/moved-{day}-{number}.txt")
    folders = sorted(path for path in (root / "code").glob("*/*") if path.is_dir())
    if len(folders) > 3:
        shutil.rmtree(rng.choice(folders))
    with (root / ODD_NAME).open("ab") as out:
        out.write(b"one line more\n")
    (root / f"empty folder {day}").mkdir()


def overwrite(path, rng):
    """Other content of the same size, in place."""
    data = rng.randbytes(12).hex().encode()
    with path.open("r+b") as out:
        size = out.seek(0, 2)
        out.seek(max(0, size // 2 - 12))
        out.write(data[: size - out.tell()])


def edit_times(rng, prose, some):
    for path in some(6):  # as by an editor that puts the time back, or `touch -r`
        before = path.lstat().st_mtime_ns
        overwrite(path, rng)
        set_time(path, before)
    for path in some(4):
        before = path.lstat().st_mtime_ns
        path.write_bytes(prose.text(rng, 100, 9000))
        set_time(path, before)
    for path in some(3):  # cut short: its older content, with its older time
        before = path.lstat()
        os.truncate(path, before.st_size // 2)
        set_time(path, before.st_mtime_ns - 40 * 86400 * 10**9)
    for path in some(3):  # put back from elsewhere, older than what it replaces
        before = path.lstat().st_mtime_ns
        path.write_bytes(prose.text(rng, 100, 9000))
        set_time(path, before - 100 * 86400 * 10**9)


def edit_metadata(root, rng, some, day):
    for path in some(10):
        path.chmod(stat.S_IMODE(path.lstat().st_mode) ^ 0o050)
    for path in some(10):
        change_owner(path, rng)
    for path in some(4):
        os.setxattr(path, "user.comment", b"of day %d" % day)
    with_comment = [path for path in plain_files(root) if "user.comment" in os.listxattr(path)]
    for path in rng.sample(with_comment, min(2, len(with_comment))):
        os.removexattr(path, "user.comment")
    for path in some(1):
        set_time(path, path.lstat().st_mtime_ns + 86400 * 10**9)


def edit_kinds(root, rng, prose, some, day):
    for path in some(1):
        path.unlink()
        put(path / "inside.txt", prose.text(rng, 100, 9000))
    for inside in sorted((root / "documents").glob("*/*/*/inside.txt"))[:1]:
        if day > 2:  # and one of an earlier day is a file again
            shutil.rmtree(inside.parent)
            inside.parent.write_bytes(prose.text(rng, 100, 9000))
    for number, path in enumerate(some(2)):
        os.link(path, root / f"linked/day-{day}-{number}")
    again = sorted((root / "linked").iterdir())
    rng.shuffle(again)
    again.pop().unlink()
    broken = again.pop()
    data = broken.read_bytes()
    broken.unlink()
    broken.write_bytes(data + b"no link any more\n")
    with again.pop().open("ab") as out:  # both names have this
        out.write(b"written through one of its names\n")
    for link in rng.sample(sorted((root / "links").iterdir()), 2):
        link.unlink()
        link.symlink_to(f"elsewhere/{day}")


def edit_logs(root, rng, scale):
    lines = max(4, round(3000 * scale))
    for name in ("app", "web"):
        log = root / "log" / f"{name}.log"
        for older in range(4, 0, -1):
            rotated = Path(f"{log}.{older}")
            if rotated.exists():
                rotated.rename(f"{log}.{older + 1}")
        log.rename(f"{log}.1")
        log.write_bytes(log_lines(rng, lines))
    with (root / "log/mail.log").open("ab") as out:
        out.write(log_lines(rng, lines))


def edit_database(path, rng, day, scale):
    with_database(path, "UPDATE orders SET buyer = ? WHERE id % 40 = ?", [(f"buyer {rng.randrange(5000)}", day)])
    with_database(path, "INSERT INTO orders (buyer, lines) VALUES (?, ?)", order_rows(rng, max(4, round(200 * scale))))


def edit_pictures(root, rng, day, scale):
    names = ("photos", "pictures")
    here = next(root / name for name in names if (root / name).is_dir())
    for number in range(max(2, round(15 * scale))):
        put(here / f"2026-11/IMG_{day}{number:04}.jpg", picture(rng))
    for path in rng.sample(sorted(here.glob("*/*.jpg")), 3):
        overwrite(path, rng)
    if day % 5 == RENAMED_ON:
        here.rename(root / names[here.name == names[0]])


# Listing and comparing.

Entry = collections.namedtuple("Entry", "kind mode owner time size digest target attributes links")


def listing(root):
    """Each path below root (bytes), and its Entry. `links` is the first of all names the file has here."""
    root = os.fsencode(root)
    entries, names = {}, collections.defaultdict(list)
    waiting = [b""]
    while waiting:
        folder = waiting.pop()
        for found in os.scandir(os.path.join(root, folder)):
            path, info = os.path.join(folder, found.name), found.stat(follow_symlinks=False)
            kind, digest, target = stat.S_IFMT(info.st_mode), None, None
            if stat.S_ISDIR(kind):
                waiting.append(path)
            elif stat.S_ISREG(kind):
                with open(found.path, "rb") as data:
                    digest = hashlib.sha256(data.read()).digest()
            elif stat.S_ISLNK(kind):
                target = os.readlink(found.path)
            attributes = {
                name: os.getxattr(found.path, name, follow_symlinks=False)
                for name in os.listxattr(found.path, follow_symlinks=False)
            }
            if info.st_nlink > 1 and not stat.S_ISDIR(kind):
                names[info.st_dev, info.st_ino].append(path)
            size = info.st_size if digest else 0
            owner, mode = (info.st_uid, info.st_gid), stat.S_IMODE(info.st_mode)
            entries[path] = Entry(kind, mode, owner, info.st_mtime_ns, size, digest, target, attributes, None)
    for group in names.values():
        for path in group if len(group) > 1 else ():
            entries[path] = entries[path]._replace(links=min(group))
    return entries


def differences(wanted, got):
    """What is not as it was, a Counter of CONTENT_KINDS and METADATA_KINDS. Metadata counts where the kind is right."""
    found = collections.Counter({"missing": len(wanted.keys() - got.keys()), "extra": len(got.keys() - wanted.keys())})
    for path in wanted.keys() & got.keys():
        old, new = wanted[path], got[path]
        if old.kind != new.kind:
            found["other kind"] += 1
            continue
        found["other content"] += (old.size, old.digest) != (new.size, new.digest)
        found["other link target"] += old.target != new.target
        found["mode"] += old.mode != new.mode
        found["owner"] += old.owner != new.owner
        found["extended attribute"] += old.attributes != new.attributes
        found["hard link"] += old.links != new.links
        if old.time != new.time:
            found[kind_of_time(old, new)] += 1
    return +found


def kind_of_time(old, new):
    if old.time // 10**9 == new.time // 10**9:
        return "part of a second"
    return {stat.S_IFDIR: "time of a folder", stat.S_IFLNK: "time of a symbolic link"}.get(old.kind, "time")


def prove(scratch):
    """Damages a copy of a small tree in each way that there is a word for; True where all of them are told."""
    tree, copy = scratch / "whole", scratch / "copy"
    make(tree, 1, 0.01)
    wanted = listing(tree)
    file, other = plain_files(tree)[:2]
    link, again = sorted((tree / "links").iterdir())[0], sorted((tree / "linked").iterdir())[0]

    def there(path):
        return copy / path.relative_to(tree)

    def rewritten(path):
        before = path.lstat().st_mtime_ns
        data = bytearray(path.read_bytes())
        data[-1] ^= 1
        path.write_bytes(data)
        set_time(path, before)

    def as_folder(path):
        path.unlink()
        path.mkdir()

    def aimed_elsewhere(path):
        path.unlink()
        path.symlink_to("elsewhere")

    def no_link(path):
        subprocess.run(["cp", "-p", "--preserve=all", path, f"{path}.new"], check=True)
        os.replace(f"{path}.new", path)

    def later(path, nanoseconds):
        set_time(path, path.lstat().st_mtime_ns + nanoseconds)

    damages = {
        "missing": lambda: there(file).unlink(),
        "extra": lambda: put(there(file).parent / "one more", b""),
        "other kind": lambda: as_folder(there(file)),
        "other content": lambda: rewritten(there(file)),
        "other link target": lambda: aimed_elsewhere(there(link)),
        "mode": lambda: there(file).chmod(stat.S_IMODE(file.lstat().st_mode) ^ 1),
        "owner": lambda: os.chown(there(file), 4321, 4321),
        "time": lambda: later(there(file), 10**9),
        "part of a second": lambda: later(there(file), 1 if file.lstat().st_mtime_ns % 10**9 < 10**9 - 1 else -1),
        "time of a folder": lambda: later(there(file.parent), 10**9),
        "time of a symbolic link": lambda: later(there(link), 10**9),
        "hard link": lambda: no_link(there(again)),
        "extended attribute": lambda: os.setxattr(there(other), "user.more", b"1"),
    }
    assert set(damages) == {*CONTENT_KINDS, *METADATA_KINDS}
    if os.geteuid() != 0:
        del damages["owner"]
    untold = []
    for kind, damage in [("", lambda: None), *damages.items()]:
        subprocess.run(["cp", "-a", tree, copy], check=True)
        if kind:
            damage()
        told = differences(wanted, listing(copy))
        if (kind not in told) if kind else told:
            untold.append(f"{kind or 'nothing'}: {dict(told)}")
        shutil.rmtree(copy)
    shutil.rmtree(tree)
    if untold:
        print("\n".join(untold))
    return not untold
