#!/usr/bin/env python3
"""Measures sheaf against the tools it should beat, and prints one Markdown table.

`make bench` runs it. Every row is a sheaf command and, mostly, a peer command
(tar, igzip, openssl, restic, borg) doing the same work on the same data. The
two alternate, A B A B, and the fastest runs of each are compared. Inputs are
made under --work, a memory file system by default, so that the figures are
those of the programs and not of a disk; all but the Linux tree are the same in
every run of this script. Peers and the Linux tree come from Debian packages,
installed when missing; a peer that cannot be had is left out, with a word.

To add a row, add a Row to ROWS, and a Fixture to FIXTURES for data it needs
beforehand. Commands are templates: {sheaf}, {scratch} (emptied after each
row), {disk} (the same on a real disk), and for every fixture {NAME}, its path,
and {NAME_rel}, its path without the leading slash, as tar and sheaf store it.

Times include starting the program (about 1 ms, and as much again for the shell
that peers run in). Peak memory is that of the largest process of a run; it
cannot be seen below this script's own size, some 20 MB.

A missed target is a measurement, not an error: the exit status is non-zero
only when a command fails.
"""

import argparse
import dataclasses
import fcntl
import glob
import json
import os
import platform
import random
import shlex
import shutil
import string
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Callable, Optional, Union

MIB = 1 << 20
LINUX_PACKAGE = "linux-source-6.1"
PACKAGE_OF = {"igzip": "isal", "openssl": "openssl", "restic": "restic", "borg": "borgbackup"}
OPTIONAL_TOOLS = {"restic", "borg"}  # what --no-peers leaves out


# What a row, its targets and its data are.


@dataclass
class Goal:
    """One line of the table: what is read off a row's runs, and its target."""

    what: str
    kind: str = "wall"  # a key of KINDS
    limit: Optional[float] = None
    aim: Optional[float] = None


@dataclass
class Row:
    """A sheaf command and a peer's, run in turns; gives one line per goal.

    `sheaf` runs without a shell, `peer` in bash. The `before_` steps and
    `check`, which looks at the results once at the end, are not timed.
    """

    sheaf: str
    goals: list
    needs: tuple = ()
    peer: Optional[str] = None
    tools: tuple = ()  # programs the peer command needs
    before_sheaf: tuple = ()
    before_peer: tuple = ()
    output: Optional[str] = None  # file for sheaf's standard output
    check: tuple = ()
    sizes: Optional[tuple] = None  # glob patterns of sheaf's and the peer's result
    rounds: Optional[int] = None
    gb: float = 0.0  # room the row needs in {scratch}


@dataclass
class Fixture:
    """Data rows need beforehand; made at first need, deleted after the last.

    `make` is a tuple of steps, or a function of the bench and the path.
    """

    make: Union[tuple, Callable]
    needs: tuple = ()
    gb: float = 0.0
    files: int = 1
    settle: bool = False  # let the clock pass the new files' time stamps
    on_disk: bool = False


@dataclass
class Run:
    """What one process, with the children it waited for, cost."""

    wall: float
    user: float
    system: float
    peak: float  # MB

    @property
    def cpu(self):
        return self.user + self.system


@dataclass
class Result:
    sheaf: list = field(default_factory=list)
    peer: list = field(default_factory=list)
    sizes: tuple = ()
    error: str = ""

    def best(self, side):
        return min(getattr(self, side), key=lambda run: run.wall, default=None)

    def peak(self, side):
        return max((run.peak for run in getattr(self, side)), default=None)


class Failed(Exception):
    """A command did not do what it should."""


# The inputs.


def make_linux(bench, path):
    """The kernel sources, some 80,000 files."""
    tarball = Path(f"/usr/src/{LINUX_PACKAGE}.tar.xz")
    if not tarball.exists() and not install([LINUX_PACKAGE, "xz-utils"]):
        raise Failed(f"{tarball} is missing and {LINUX_PACKAGE} cannot be installed")
    path.mkdir()
    bench.shell(f"tar -xJf {tarball} -C {shlex.quote(str(path))} --strip-components=1")


def make_million(bench, path):
    """1000 directories of 1000 files, of about 20 bytes each."""
    make_tiny(path, bench.scaled(1000))


def make_hundred(bench, path):
    """A tenth of that: 100,000 files."""
    make_tiny(path, bench.scaled(100))


def make_twenty(bench, path):
    """20,000 of them."""
    make_tiny(path, bench.scaled(20))


def make_crowd(bench, path):
    """A directory of a million names."""
    path.mkdir()
    handle = os.open(path, os.O_RDONLY)
    for index in range(bench.scaled(1_000_000)):
        write_at(handle, f"f{index:06}.txt", b"")
    os.close(handle)


def make_shallow(bench, path):
    """Directories 300 deep, a file in each."""
    make_levels(path, bench.scaled(300))


def make_deep(bench, path):
    """The same, 1000 deep."""
    make_levels(path, bench.scaled(1000))


def make_deeper(bench, path):
    """The same, 3000 deep: longer than a path may be that is given to the kernel."""
    make_levels(path, bench.scaled(3000))


def make_levels(path, levels):
    path.mkdir()
    top = path / "a"
    top.mkdir()
    handle = os.open(top, os.O_RDONLY)
    for level in range(levels):
        write_at(handle, "f", b"level %d\n" % level)
        os.mkdir("d", dir_fd=handle)
        deeper = os.open("d", os.O_RDONLY, dir_fd=handle)
        os.close(handle)
        handle = deeper
    os.close(handle)


def make_tiny(path, directories):
    for number in range(directories):
        directory = path / f"d{number:03}"
        directory.mkdir(parents=True)
        handle = os.open(directory, os.O_RDONLY)
        for index in range(1000):
            write_at(handle, f"f{index:03}.txt", b"tiny file %03d %03d\n" % (number, index))
        os.close(handle)


def make_year(bench, path):
    age(bench, "year", "hundred")


def make_small_year(bench, path):
    age(bench, "small_year", "twenty")


def age(bench, name, tree):
    """A chain of a full backup and 364 incremental ones, a few files new, changed and gone in each."""
    rng = random.Random(6)
    source = bench.path(tree)
    directories = sorted(source.iterdir())
    bench.shell(f"cp -a {{{name}_full}} {{{name}}}")
    for day in range(364):
        for _ in range(5):
            with open(rng.choice(directories) / f"f{rng.randrange(1000):03}.txt", "ab") as file:
                file.write(b"day %d\n" % day)
        (rng.choice(directories) / f"n{day:03}.txt").write_bytes(b"new %d\n" % day)
        (rng.choice(directories) / f"f{rng.randrange(1000):03}.txt").unlink(missing_ok=True)
        bench.shell(f"{{sheaf}} backup -s {{{name}}} -q")


def make_daily(bench, path):
    """A chain of 1,200 sets, more than three years of daily ones, of 1000 empty files."""
    grow(bench, "daily", bench.scaled(1200))


def make_hourly(bench, path):
    """The same with 10,000 sets, more than a year of hourly ones."""
    grow(bench, "hourly", bench.scaled(10_000))


def grow(bench, name, sets):
    for number in range(1000):
        file = bench.path("few") / f"d{number // 50:02}" / f"f{number:03}"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"")
    for step in full_store(name, "few"):
        bench.shell(step)
    script = Path(__file__).with_name("hourly.py")
    bench.shell(f"{sys.executable} {shlex.quote(str(script))} {{{name}}} {sets}")
    # The full set was moved into the past, which this machine would take for a store that was set back.
    bench.shell(f"{{sheaf}} identify -s {{{name}}} --new")


def make_big(bench, path):
    """One file of 4 GiB: 1 MiB of random bytes, 1 MiB of text, and so on."""
    rng = random.Random(4)
    pool = b"".join(text(rng, MIB) for _ in range(2))
    path.mkdir()
    with open(path / "disk.img", "wb") as file:
        for _ in range(bench.scaled(2048)):
            start = rng.randrange(MIB)
            file.write(rng.randbytes(MIB))
            file.write(pool[start : start + MIB])


def make_packed(bench, path):
    """About 1 GiB no compressor can shrink: files of 2 to 5 MB, and of 30 kB."""
    rng = random.Random(5)
    sizes = [rng.randrange(2_000_000, 5_000_000) for _ in range(bench.scaled(230))]
    sizes += [30_000] * bench.scaled(9000)
    for index, size in enumerate(sizes):
        directory = path / f"d{index // 100:03}"
        directory.mkdir(parents=True, exist_ok=True)
        with open(directory / f"p{index:05}.jpg", "wb") as file:
            file.write(rng.randbytes(size))


def write_at(directory, name, data):
    handle = os.open(name, os.O_WRONLY | os.O_CREAT, 0o644, dir_fd=directory)
    os.write(handle, data)
    os.close(handle)


def text(rng, size):
    """Words of a small language, the frequent ones far more often, in lines."""
    words = ["".join(rng.choices(string.ascii_lowercase, k=rng.randint(2, 9))) for _ in range(4000)]
    weights = [1 / (rank + 10) for rank in range(len(words))]
    lines = []
    length = 0
    while length < size:
        lines.append(" ".join(rng.choices(words, weights, k=12)))
        length += len(lines[-1]) + 1
    return "\n".join(lines).encode()[: size - 1] + b"\n"


def full_store(name, source):
    """Steps making the store `name`, holding one full backup of `source`."""
    return (f"{{sheaf}} init -s {{{name}}}", f"{{sheaf}} backup -s {{{name}}} -q {{{source}}}")


def snapshot(name, source):
    """Steps making the snapshot file tar compares `source` with later."""
    return (f"tar -C / -g {{{name}}} -cf /dev/null {{{source}_rel}}",)


# Keys lie beside the data, not in the user's own folder.
SEALED = "env XDG_CONFIG_HOME={keys} "
SEALED_INIT = SEALED + "{sheaf} init --encrypt -q"


TAR_IGZIP = "tar -C / -cf - {linux_rel} | igzip -1 > "

FIXTURES = {
    "linux": Fixture(make_linux, gb=1.6, files=85_000, settle=True),
    "million": Fixture(make_million, gb=6.0, files=1_002_000, settle=True),
    "hundred": Fixture(make_hundred, gb=0.6, files=101_000, settle=True),
    "big": Fixture(make_big, gb=4.3, settle=True),
    "packed": Fixture(make_packed, gb=1.1, files=10_000, settle=True),
    "disk_linux": Fixture(
        ("cp -a {linux} {disk_linux}", "sync -f {disk_linux}"),
        needs=("linux",), gb=1.6, files=85_000, settle=True, on_disk=True,
    ),
    # Stores: one that stays as it is, and those that unchanged backups are added to.
    "store": Fixture(full_store("store", "linux"), needs=("linux",), gb=0.4),
    "keys": Fixture(("mkdir {keys}",)),
    "sealed": Fixture(
        (SEALED_INIT + " -s {sealed}", SEALED + "{sheaf} backup -s {sealed} -q {linux}"),
        needs=("linux", "keys"), gb=0.4,
    ),
    "linux_chain": Fixture(full_store("linux_chain", "linux"), needs=("linux",), gb=0.4),
    "moving": Fixture(("mkdir {moving}", "cp -a {linux} {moving}/a"), needs=("linux",), gb=1.6, files=85_000, settle=True),
    "moving_chain": Fixture(full_store("moving_chain", "moving"), needs=("moving",), gb=0.4),
    "million_chain": Fixture(full_store("million_chain", "million"), needs=("million",), gb=0.3),
    "year_full": Fixture(full_store("year_full", "hundred"), needs=("hundred",), gb=0.1),
    "year": Fixture(make_year, needs=("hundred", "year_full"), gb=0.1),
    "sealed_year": Fixture(
        (SEALED_INIT + " -s {sealed_year}", SEALED + "{sheaf} copy -q -s {year} --to {sealed_year}"),
        needs=("year", "keys"), gb=0.1,
    ),
    "twenty": Fixture(make_twenty, gb=0.1, files=21_000, settle=True),
    "small_year_full": Fixture(full_store("small_year_full", "twenty"), needs=("twenty",), gb=0.1),
    "small_year": Fixture(make_small_year, needs=("twenty", "small_year_full"), gb=0.1),
    "crowd": Fixture(make_crowd, gb=1.0, files=1_000_000, settle=True),
    "crowd_chain": Fixture(full_store("crowd_chain", "crowd"), needs=("crowd",), gb=0.1),
    "deep": Fixture(make_deep, files=2000, settle=True),
    "deep_chain": Fixture(full_store("deep_chain", "deep"), needs=("deep",)),
    "shallow": Fixture(make_shallow, files=600, settle=True),
    "shallow_chain": Fixture(full_store("shallow_chain", "shallow"), needs=("shallow",)),
    "deeper": Fixture(make_deeper, files=6000, settle=True),
    "deeper_chain": Fixture(full_store("deeper_chain", "deeper"), needs=("deeper",)),
    "few": Fixture(("mkdir {few}",), settle=True),
    "daily": Fixture(make_daily, needs=("few",), gb=0.1, files=5_000),
    "hourly": Fixture(make_hourly, needs=("few",), gb=0.2, files=25_000),
    # A chain whose last set changed a tenth of the tree, and two full sets of one large file.
    "aged": Fixture(("cp -a {linux} {aged}",), needs=("linux",), gb=1.6, files=85_000, settle=True),
    "aged_store": Fixture(
        full_store("aged_store", "aged")
        + (
            "find {aged}/drivers/net -type f -exec sh -c 'for f; do echo >> \"$f\"; done' sh {{}} +",
            "{sheaf} backup -s {aged_store} -q",
        ),
        needs=("aged",), gb=0.8,
    ),
    "two_fulls": Fixture(
        full_store("two_fulls", "big") + ("{sheaf} backup -s {two_fulls} -q --full",), needs=("big",), gb=4.5
    ),
    # What peers need.
    "targz": Fixture((TAR_IGZIP + "{targz}",), needs=("linux",), gb=0.4),
    "linux_snar": Fixture(snapshot("linux_snar", "linux"), needs=("linux",)),
    "million_snar": Fixture(snapshot("million_snar", "million"), needs=("million",), gb=0.1),
    "packed_list": Fixture(
        ("cd {packed} && find . -type f -print0 | sort -z > {packed_list}",), needs=("packed",)
    ),
}


# The rows.

NEW_STORE = ("rm -rf {scratch}/store", "{sheaf} init -s {scratch}/store")
NEW_TARGET = ("rm -rf {scratch}/sheaf-out", "mkdir {scratch}/sheaf-out")
NEW_PEER_TARGET = ("rm -rf {scratch}/peer-out", "mkdir {scratch}/peer-out")
FULL_LINUX = "{sheaf} backup -s {scratch}/store -q {linux}"
UNCHANGED = "{sheaf} backup -s {linux_chain} -q"
RESTORE = "{sheaf} restore -s {store} --to {scratch}/sheaf-out -q"
RESTORED = ("diff -r --no-dereference {linux} {scratch}/sheaf-out/{linux_rel}",)
CAT = "{sheaf} cat -s {store} {one_rel}"
SAME_FILE = ("cmp {one} {scratch}/one",)


def tar_again(name):
    """How tar makes an incremental archive: before each round, and the command."""
    before = ("rm -f {scratch}/1.tar", f"cp {{{name}_snar}} {{scratch}}/1.snar")
    peer = f"tar -C / -g {{scratch}}/1.snar -cf {{scratch}}/1.tar {{{name}_rel}} && sync -f {{scratch}}/1.tar"
    return {"before_peer": before, "peer": peer}


def renamed_levels(tree, levels, **targets):
    """The top of a tree of so many levels gets another name before each round."""
    return Row(
        before_sheaf=(f"cd {{{tree}}} && if [ -e b ]; then mv b a; else mv a b; fi",),
        sheaf=f"{{sheaf}} backup -q -s {{{tree}_chain}}",
        needs=(tree, f"{tree}_chain"),
        goals=[Goal(f"rename of a tree {levels} deep", "seconds", **targets)],
    )


ROWS = [
    Row(
        before_sheaf=NEW_STORE,
        sheaf=FULL_LINUX,
        before_peer=("rm -f {scratch}/peer.tar.gz",),
        peer=TAR_IGZIP + "{scratch}/peer.tar.gz && sync -f {scratch}/peer.tar.gz",
        tools=("igzip",),
        needs=("linux",),
        sizes=("{scratch}/store/*/*-full.tar.gz", "{scratch}/peer.tar.gz"),
        gb=0.8,
        goals=[
            Goal("full backup, Linux tree; tar, igzip -1", limit=0.65, aim=0.60),
            Goal("size of that archive", "size", 1.03, 1.00),
        ],
    ),
    Row(
        sheaf=UNCHANGED,
        **tar_again("linux"),
        needs=("linux", "linux_chain", "linux_snar"),
        goals=[Goal("nothing changed, Linux tree; tar -g", limit=0.42, aim=0.36)],
    ),
    Row(
        sheaf=UNCHANGED + " --keep-free {tight}",
        **tar_again("linux"),
        needs=("linux", "linux_chain", "linux_snar"),
        goals=[Goal("the same, with less room than the source's disk holds; tar -g", limit=0.42, aim=0.36)],
    ),
    Row(
        before_sheaf=(
            "rm -rf {scratch}/moved && cp -r {moving_chain} {scratch}/moved",
            "cd {moving} && if [ -e b ]; then mv b a; fi && mv a b",
        ),
        sheaf="{sheaf} backup -s {scratch}/moved -q",
        peer=UNCHANGED,
        needs=("linux", "linux_chain", "moving", "moving_chain"),
        check=("test $(cat {scratch}/moved/*/*-incr.*.gz | wc -c) -lt 9400000",),
        gb=0.4,
        goals=[Goal("top folder of the Linux tree renamed; nothing changed", limit=2.2, aim=1.8)],
    ),
    Row(
        before_sheaf=NEW_TARGET,
        sheaf=RESTORE,
        before_peer=NEW_PEER_TARGET,
        peer="tar -xzf {targz} -C {scratch}/peer-out",
        tools=("igzip",),
        needs=("linux", "store", "targz"),
        check=RESTORED,
        gb=3.2,
        goals=[Goal("whole restore, Linux tree; tar xzf", limit=0.33, aim=0.30)],
    ),
    Row(
        sheaf=CAT,
        output="{scratch}/one",
        needs=("linux", "store"),
        check=SAME_FILE,
        goals=[Goal("one file of the Linux tree, cat", "seconds", 0.1, 0.03)],
    ),
    Row(
        before_sheaf=NEW_TARGET,
        sheaf=RESTORE + " {one_rel}",
        needs=("linux", "store"),
        check=("cmp {one} {scratch}/sheaf-out/{one_rel}",),
        goals=[Goal("one file of the Linux tree, restore", "seconds", 0.1, 0.03)],
    ),
    Row(
        sheaf="{sheaf} verify -s {store} -q",
        peer="igzip -dc {store}/*/*-full.tar.gz | openssl dgst -sha256",
        tools=("igzip", "openssl"),
        needs=("store",),
        goals=[Goal("verify, Linux tree; igzip -d, sha256", limit=0.52, aim=0.46)],
    ),
    Row(
        sheaf="{sheaf} verify -q -s {small_year}",
        peer="{sheaf} verify -q -s {small_year_full}",
        needs=("small_year", "small_year_full"),
        goals=[Goal("verify, 365 sets of 20 k files", "seconds", 1.0, 0.7)],
    ),
    Row(
        sheaf="{sheaf} verify -q -s {million_chain}",
        needs=("million_chain",),
        rounds=3,
        goals=[Goal("verify, 1 M tiny files", "seconds", 2.6, 2.2)],
    ),
    # What encryption costs: the same command on the same data, with and without.
    Row(
        before_sheaf=("rm -rf {scratch}/sealed", SEALED_INIT + " -s {scratch}/sealed"),
        sheaf=SEALED + "{sheaf} backup -s {scratch}/sealed -q {linux}",
        before_peer=NEW_STORE,
        peer=FULL_LINUX,
        needs=("linux", "keys"),
        gb=0.9,
        goals=[Goal("full backup, encrypted; not encrypted", limit=1.06)],
    ),
    Row(
        before_sheaf=NEW_TARGET,
        sheaf=SEALED + "{sheaf} restore -s {sealed} -q --to {scratch}/sheaf-out",
        before_peer=NEW_PEER_TARGET,
        peer="{sheaf} restore -s {store} -q --to {scratch}/peer-out",
        needs=("linux", "keys", "store", "sealed"),
        check=RESTORED,
        gb=3.2,
        goals=[Goal("whole restore, encrypted; not encrypted", limit=1.06)],
    ),
    Row(
        sheaf=SEALED + "{sheaf} verify -s {sealed} -q",
        peer="{sheaf} verify -s {store} -q",
        needs=("keys", "store", "sealed"),
        goals=[Goal("verify, encrypted; not encrypted", limit=1.10)],
    ),
    Row(
        sheaf=SEALED + "{sheaf} cat -s {sealed} {one_rel}",
        output="{scratch}/one",
        needs=("linux", "keys", "sealed"),
        check=SAME_FILE,
        goals=[Goal("one file of the Linux tree, cat, encrypted", "seconds", 0.1, 0.03)],
    ),
    Row(
        sheaf="{sheaf} backup -s {million_chain} -q",
        **tar_again("million"),
        needs=("million", "million_chain", "million_snar"),
        gb=0.2,
        goals=[
            Goal("nothing changed, 1 M files; tar -g", limit=0.50, aim=0.40),
            Goal("peak memory of that", "peak", 100),
        ],
    ),
    Row(
        sheaf="{sheaf} ls -R -s {year}",
        peer="{sheaf} ls -R -s {year_full}",
        needs=("year", "year_full"),
        goals=[
            Goal("listing 100 k files after 364 incrementals; the full alone", limit=1.4, aim=1.25),
            Goal("peak memory of that", "peak", 150),
        ],
    ),
    Row(
        sheaf="{sheaf} restore -n -s {year} --to {scratch}/none",
        peer="{sheaf} restore -n -s {year_full} --to {scratch}/none",
        needs=("year", "year_full"),
        goals=[Goal("planning a restore of them; of the full alone", limit=1.4, aim=1.25)],
    ),
    Row(
        sheaf=SEALED + "{sheaf} restore -n -s {sealed_year} --to {scratch}/none",
        peer="{sheaf} restore -n -s {year} --to {scratch}/none",
        needs=("year", "keys", "sealed_year"),
        goals=[Goal("planning a restore of 365 sets, encrypted; not encrypted", limit=1.2)],
    ),
    Row(
        before_sheaf=("touch {crowd}/n$(date +%s%N)",),
        sheaf="{sheaf} backup -q -s {crowd_chain}",
        needs=("crowd", "crowd_chain"),
        rounds=3,
        goals=[Goal("one new name in a directory of a million", "seconds"), Goal("peak memory of that", "peak", 300, 150)],
    ),
    renamed_levels("shallow", "300"),
    renamed_levels("deep", "1,000", limit=0.2, aim=0.1),
    renamed_levels("deeper", "3,000"),
    Row(
        sheaf="{sheaf} backup -q -s {deeper_chain}",
        needs=("deeper", "deeper_chain"),
        goals=[Goal("nothing changed in a tree 3,000 deep", "seconds", 0.1, 0.05)],
    ),
    Row(
        sheaf="{sheaf} find -s {year} f*5.txt",
        needs=("year",),
        goals=[Goal("find over 365 sets", "seconds", 1)],
    ),
    Row(
        sheaf="{sheaf} history -s {year} {hundred_rel}/d000/f000.txt",
        needs=("year",),
        goals=[Goal("history over 365 sets", "seconds", 1)],
    ),
    Row(
        sheaf="{sheaf} points -q -s {year}",
        needs=("year",),
        output="{scratch}/points",
        goals=[Goal("points, 365 sets", "seconds")],
    ),
    Row(
        sheaf="{sheaf} points -q -s {daily}",
        needs=("few", "daily"),
        output="{scratch}/points",
        goals=[Goal("points, 1,200 sets", "seconds", 0.1, 0.05)],
    ),
    Row(
        before_sheaf=("date +%N > {few}/d00/f000",),
        sheaf="{sheaf} backup -q -s {daily}",
        needs=("few", "daily"),
        goals=[Goal("one file changed after 1,200 sets", "seconds", 0.12, 0.08), Goal("peak memory of that", "peak", 64)],
    ),
    Row(
        sheaf="{sheaf} points -q -s {hourly}",
        needs=("few", "hourly"),
        output="{scratch}/points",
        goals=[Goal("points, 10,000 sets", "seconds", 1, 0.4), Goal("peak memory of that", "peak", 100)],
    ),
    Row(
        sheaf="{sheaf} verify --quick -q -s {hourly}",
        needs=("few", "hourly"),
        goals=[Goal("verify --quick, 10,000 sets", "seconds", 1, 0.4), Goal("peak memory of that", "peak", 100)],
    ),
    Row(
        sheaf="{sheaf} backup -q -s {hourly}",
        needs=("few", "hourly"),
        goals=[Goal("nothing changed after 10,000 sets", "seconds", 3), Goal("peak memory of that", "peak", 150)],
    ),
    Row(
        sheaf="{sheaf} diff -s {year}",
        needs=("year",),
        goals=[Goal("diff of the last two of 365 sets", "seconds")],
    ),
    Row(
        sheaf="{sheaf} export -s {store}",
        output="{scratch}/linux.tar",
        peer="igzip -dc {targz} > {scratch}/peer.tar",
        tools=("igzip",),
        needs=("store", "targz"),
        gb=2.8,
        goals=[Goal("export, Linux tree; igzip -d")],
    ),
    Row(
        before_sheaf=NEW_STORE,
        sheaf="{sheaf} backup -s {scratch}/store -q {big}",
        needs=("big",),
        gb=3.0,
        goals=[Goal("full backup, one 4 GiB file; cores used", "cores", 1.9, 1.98)],
    ),
    Row(
        before_sheaf=("rm -rf {scratch}/store", "cp -al {two_fulls} {scratch}/store"),
        sheaf="{sheaf} prune -s {scratch}/store -q --keep-last 1",
        needs=("two_fulls",),
        goals=[Goal("prune, one of two full sets of 4 GiB goes", "seconds", 0.1, 0.03)],
    ),
    Row(
        before_sheaf=("rm -rf {scratch}/store", "cp -al {aged_store} {scratch}/store"),
        sheaf="{sheaf} consolidate -s {scratch}/store -q",
        before_peer=("rm -f {scratch}/copy",),
        # Sheaf digests what it reads and what it writes.
        peer="cp {scratch}/store/*/*-full-2.tar.gz {scratch}/copy && sync -f {scratch}/copy && "
        "openssl dgst -sha256 {scratch}/store/*/*-full-2.tar.gz && openssl dgst -sha256 {scratch}/copy",
        tools=("openssl",),
        needs=("aged_store",),
        check=("{sheaf} verify -s {scratch}/store -q",),
        gb=0.7,
        goals=[
            Goal("consolidate, Linux tree, 90 % alive; cp and two sha256", limit=1.3, aim=1.1),
            Goal("peak memory of that", "peak", 150),
        ],
    ),
    Row(
        before_sheaf=NEW_STORE,
        sheaf="{sheaf} backup -s {scratch}/store -q {packed}",
        peer="cd {packed} && xargs -0 -s 1500000 openssl dgst -sha256 < {packed_list}",
        tools=("openssl",),
        needs=("packed", "packed_list"),
        gb=1.2,
        goals=[Goal("full backup, compressed data; sha256", limit=1.3, aim=1.2)],
    ),
    Row(
        before_sheaf=(
            "rm -rf {disk}/store", "{sheaf} init -s {disk}/store", "sync -f {disk}",
        ),
        sheaf="{sheaf} backup -s {disk}/store -q {disk_linux}",
        before_peer=("rm -f {disk}/peer.tar.gz", "sync -f {disk}"),
        # Plain sync: -f would make the peer wait for other programs' writes as well.
        peer="tar -C / -cf - {disk_linux_rel} | igzip -1 > {disk}/peer.tar.gz && sync {disk}/peer.tar.gz",
        tools=("igzip",),
        needs=("disk_linux",),
        goals=[Goal("full backup, Linux tree, on disk; tar, igzip -1")],
    ),
]

# Other archivers, by what each does: {repo} is a repository of the right state.
ARCHIVERS = {
    "restic": {
        "init": "restic -r {repo} init -q --repository-version 2",
        "full": "restic -r {repo} backup -q {linux}",
        "again": "restic -r {repo} backup -q {linux}",
        "restore": "restic -r {repo} restore -q latest --target {scratch}/peer-out",
        "one": "restic -r {repo} dump -q latest {one} > {scratch}/peer-one",
    },
    "borg lz4": {
        "init": "borg init -e none {repo}",
        "full": "borg create -C lz4 {repo}::full {linux}",
        "again": "borg create -C lz4 {repo}::again {linux}",
        "restore": "cd {scratch}/peer-out && borg extract {repo}::full",
        "one": "borg extract --stdout {repo}::full {one_rel} > {scratch}/peer-one",
    },
}


def add_archiver(label, commands):
    """Adds an archiver's rows, for information, and the repository they need."""
    tool = label.split()[0]
    fixture = tool + "_repo"

    def on(repo, *names):
        return tuple(commands[name].replace("{repo}", repo) for name in names)

    def row(what, **fields):
        ROWS.append(Row(goals=[Goal(f"{what}; {label}")], tools=(tool,), rounds=1, **fields))

    kept = "{%s}" % fixture
    new = "{scratch}/repo"
    FIXTURES[fixture] = Fixture(on(kept, "init", "full"), needs=("linux",), gb=0.6)
    row(
        "full backup, Linux tree", needs=("linux",), gb=1.0,
        before_sheaf=NEW_STORE, sheaf=FULL_LINUX,
        before_peer=on(new, "init"), peer=on(new, "full")[0],
    )
    row(
        "nothing changed, Linux tree", needs=("linux", "linux_chain", fixture),
        sheaf=UNCHANGED, peer=on(kept, "again")[0],
    )
    row(
        "whole restore, Linux tree", needs=("linux", "store", fixture), gb=3.2,
        before_sheaf=NEW_TARGET, sheaf=RESTORE,
        before_peer=NEW_PEER_TARGET, peer=on(kept, "restore")[0],
        check=RESTORED,
    )
    row(
        "one file of the Linux tree", needs=("linux", "store", fixture),
        sheaf=CAT, output="{scratch}/one", peer=on(kept, "one")[0],
        check=SAME_FILE + ("cmp {one} {scratch}/peer-one",),
    )


for _label, _commands in ARCHIVERS.items():
    add_archiver(_label, _commands)

OVERALL = Goal("peak memory over every sheaf run", "peak", 150, 80)


# Running.


class Bench:
    """Runs rows: keeps the fixtures they need, and the peak of all sheaf runs."""

    def __init__(self, args, tools):
        self.sheaf = Path(args.sheaf).resolve()
        self.work = Path(args.work).resolve()
        self.disk = Path(args.disk).resolve()
        self.linux = args.linux and Path(args.linux).resolve()
        self.rounds = args.rounds
        self.scale = args.scale
        self.tools = tools
        self.made = []
        self.sheaf_runs = Result()
        self.env = dict(
            os.environ,
            LC_ALL="C",
            RESTIC_PASSWORD="bench",
            RESTIC_CACHE_DIR=str(self.work / "restic-cache"),
            BORG_BASE_DIR=str(self.work / "borg-base"),
            BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK="yes",
        )

    def scaled(self, count):
        return max(1, round(count * self.scale))

    def path(self, name):
        if name == "linux" and self.linux:
            return self.linux
        return (self.disk if FIXTURES[name].on_disk else self.work) / name

    def source(self, name):
        """A fixture's path as commands see it: a small bench takes a part of the Linux tree."""
        part = name == "linux" and self.scale < 1
        return self.path(name) / "kernel" if part else self.path(name)

    def names(self):
        """What the placeholders of commands stand for."""
        paths = {name: self.source(name) for name in FIXTURES}
        core = "sched/core.c" if self.scale < 1 else "kernel/sched/core.c"
        paths["one"] = paths["linux"] / core
        names = {name + "_rel": str(path).lstrip("/") for name, path in paths.items()}
        names.update((name, str(path)) for name, path in paths.items())
        # So much is to stay free that little is left for a run.
        tight = max(0, shutil.disk_usage(self.work).free - 256 * MIB)
        names.update(
            sheaf=str(self.sheaf),
            scratch=str(self.work / "scratch"),
            disk=str(self.disk / "scratch"),
            tight=str(tight),
        )
        return names

    def fill(self, template):
        """A command, its placeholders filled in and quoted for the shell."""
        return template.format_map({name: shlex.quote(text) for name, text in self.names().items()})

    def shell(self, template):
        command = self.fill(template)
        return timed(["bash", "-o", "pipefail", "-c", command], self.env)

    def run_sheaf(self, template, output=None):
        target = output and output.format_map(self.names())
        run = timed(shlex.split(self.fill(template)), self.env, target)
        self.sheaf_runs.sheaf.append(run)
        return run

    def steps(self, templates):
        for template in templates:
            (self.run_sheaf if template.startswith("{sheaf} ") else self.shell)(template)

    def ensure(self, name):
        """Makes a fixture, and those it is made from, unless it is there."""
        if name in self.made or (name == "linux" and self.linux):
            return
        fixture = FIXTURES[name]
        for other in fixture.needs:
            self.ensure(other)
        say(f"  making {name}")
        try:
            if callable(fixture.make):
                fixture.make(self, self.path(name))
                forget_peak()
            else:
                self.steps(fixture.make)
        except Failed:
            remove(self.path(name))
            raise
        self.made.append(name)
        if fixture.settle:
            time.sleep(3)

    def drop_all_but(self, needed):
        for name in [name for name in self.made if name not in needed]:
            remove(self.path(name))
            self.made.remove(name)

    def measure(self, row):
        """All rounds of a row; what fails is noted in the result."""
        result = Result()
        scratches = [self.work / "scratch", self.disk / "scratch"]
        try:
            for scratch in scratches:
                scratch.mkdir(parents=True)
            for name in row.needs:
                self.ensure(name)
            for _ in range(row.rounds or self.rounds):
                self.round(row, result)
            self.steps(row.check)
            result.sizes = self.sizes(row)
        except Failed as error:
            result.error = str(error)
            say(f"  FAILED: {error}")
        for scratch in scratches:
            remove(scratch)
        return result

    def round(self, row, result):
        self.steps(row.before_sheaf)
        result.sheaf.append(self.run_sheaf(row.sheaf, row.output))
        if self.has_peer(row):
            self.steps(row.before_peer)
            result.peer.append(self.shell(row.peer))

    def has_peer(self, row):
        return bool(row.peer) and self.tools.issuperset(row.tools)

    def sizes(self, row):
        """The bytes of sheaf's result and of the peer's; 0 for what there is not."""
        patterns = [pattern.format_map(self.names()) for pattern in row.sizes or ()]
        sizes = tuple(sum(map(os.path.getsize, glob.glob(pattern))) for pattern in patterns)
        if sizes and not sizes[0]:
            raise Failed(f"no file is {patterns[0]}")
        return sizes


def timed(argv, env, output=None):
    """Runs a program to its end; raises Failed unless it succeeds."""
    errors = os.memfd_create("stderr")
    with open(output or os.devnull, "wb") as out:
        start = time.perf_counter()
        try:
            process = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=out, stderr=errors, env=env
            )
        except OSError as error:
            os.close(errors)
            raise Failed(str(error)) from error
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    with open(errors, "rb") as file:
        file.seek(0)
        message = file.read().decode(errors="replace")
    if process.returncode != 0:
        raise Failed(f"{shlex.join(argv)}: status {process.returncode}: {message[-500:].strip()}")
    return Run(wall, usage.ru_utime, usage.ru_stime, usage.ru_maxrss * 1024 / 1e6)


def forget_peak():
    """Resets this process's own peak, which the programs it starts inherit."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        pass


def remove(path):
    """What may be deeper than Python's own functions go."""
    subprocess.run(["rm", "-rf", "--", str(path)], check=False)


def say(text):
    print(text, file=sys.stderr, flush=True)


# What the bench needs of the machine.


def install(packages):
    """Installs Debian packages; says whether that worked."""
    if not shutil.which("apt-get"):
        return False
    say(f"installing {' '.join(packages)}")
    root = [] if os.geteuid() == 0 else ["sudo", "-n"]
    apt = root + ["env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-q", "-y"]
    get = apt + ["install", "--no-install-recommends"] + packages
    return quiet(get) or (quiet(apt + ["update"]) and quiet(get))


def quiet(argv):
    try:
        return subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True).returncode == 0
    except OSError:
        return False


def find_tools(rows):
    """The peers' programs there are, after installing those missing."""
    wanted = {tool for row in rows for tool in row.tools}
    for tool in sorted(wanted):
        if not shutil.which(tool) and not install([PACKAGE_OF[tool]]):
            say(f"{tool} is missing and cannot be installed: rows against it have no peer")
    return {tool for tool in wanted if shutil.which(tool)}


def closure(names):
    """Fixtures, with those they are made from."""
    found = set()
    for name in names:
        found |= {name} | closure(FIXTURES[name].needs)
    return found


def needed_from(rows):
    return closure(name for row in rows for name in row.needs)


def room(rows, given, scale):
    """The most GB and files that the rows need at one time in the work directory."""
    gigabytes = files = 0
    for index, row in enumerate(rows):
        live = needed_from(rows[: index + 1]) & needed_from(rows[index:])
        live = [FIXTURES[name] for name in live - given if not FIXTURES[name].on_disk]
        gigabytes = max(gigabytes, row.gb + sum(fixture.gb for fixture in live))
        files = max(files, 200_000 + sum(fixture.files for fixture in live))
    return gigabytes * scale, int(files * scale)


def free_room(path):
    """GB and files that fit under a path; on a memory file system, in memory too."""
    space = os.statvfs(path)
    gigabytes = space.f_bavail * space.f_frsize / 1e9
    kind = subprocess.run(["stat", "-f", "-c", "%T", path], capture_output=True, text=True).stdout
    if kind.strip() == "tmpfs":
        gigabytes = min(gigabytes, memory("MemAvailable"))
    return gigabytes, space.f_favail if space.f_files else float("inf")


def check_room(bench, rows):
    """Says what the rows need; ends the program when there is not as much."""
    need = room(rows, {"linux"} if bench.linux else set(), bench.scale)
    free = free_room(bench.work)
    summary = (
        f"needs {need[0]:.1f} GB and {need[1]} files in {bench.work}, "
        f"has {free[0]:.1f} GB and {free[1]} files free"
    )
    say(summary)
    if need[0] > free[0] or need[1] > free[1]:
        sys.exit("bench.py: not enough room: use --work or --only")


def rows_with_disk_room(bench, rows):
    """The rows, without those on disk when the disk is too full."""
    on_disk = [row for row in rows if any(FIXTURES[name].on_disk for name in row.needs)]
    free = free_room(bench.disk)[0]
    if not on_disk or free > 4:
        return rows
    say(f"{bench.disk} has {free:.1f} GB free of the 4 needed: no rows on disk")
    return [row for row in rows if row not in on_disk]


def claim(path):
    """Makes a directory ours, emptied of an earlier bench's files; returns its lock."""
    marker = path / ".sheaf-bench"
    if path.exists() and any(path.iterdir()) and not marker.exists():
        sys.exit(f"bench.py: {path} holds other files; give an empty directory")
    path.mkdir(parents=True, exist_ok=True)
    lock = open(marker, "w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        sys.exit(f"bench.py: another bench uses {path}")
    for entry in path.iterdir():
        if entry != marker:
            remove(entry)
    return lock


def memory(key):
    """A figure of /proc/meminfo, in GB."""
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith(key + ":"):
            return int(line.split()[1]) * 1024 / 1e9
    return 0.0


def machine():
    """One line about the machine."""
    info = Path("/proc/cpuinfo").read_text().splitlines()
    models = [line.split(":", 1)[1].strip() for line in info if line.startswith("model name")]
    model = models[0] if models else platform.machine()
    cores = len(os.sched_getaffinity(0))
    return f"{model}, {cores} cores, {memory('MemTotal'):.0f} GB, {platform.system()} {platform.release()}"


# The table. Each kind gives what sheaf and the peer show, the figure that is
# held against the target, and that figure's unit.


def of_wall(result):
    sheaf, peer = result.best("sheaf"), result.best("peer")
    ratio = sheaf.wall / peer.wall if peer else None
    return f"{sheaf.wall:.3f} s", f"{peer.wall:.3f} s" if peer else "", ratio, ""


def of_size(result):
    sheaf, peer = result.sizes
    ratio = sheaf / peer if peer else None
    return f"{sheaf / 1e6:.1f} MB", f"{peer / 1e6:.1f} MB" if peer else "", ratio, ""


def of_seconds(result):
    wall = result.best("sheaf").wall
    return f"{wall:.3f} s", "", wall, " s"


def of_peak(result):
    peak = result.peak("sheaf")
    return f"{peak:.0f} MB", "", peak, " MB"


def of_cores(result):
    sheaf = result.best("sheaf")
    return f"{sheaf.wall:.3f} s", "", sheaf.cpu / sheaf.wall, ""


KINDS = {"wall": of_wall, "size": of_size, "seconds": of_seconds, "peak": of_peak, "cores": of_cores}
AT_LEAST = {"cores"}  # the more the better; of all other kinds, the less
COLUMNS = ["what", "sheaf", "peer", "ratio", "at most", "aim", "verdict", "user+sys", "peak MB"]


def verdict(goal, value):
    if goal.limit is None:
        return "info"
    if value is None:
        return "no peer"
    good = value >= goal.limit if goal.kind in AT_LEAST else value <= goal.limit
    return "ok" if good else "MISSED"


def target(goal, value, unit):
    if value is None:
        return ""
    return f"{'>= ' if goal.kind in AT_LEAST else ''}{f'{value:g}' if unit else f'{value:.2f}'}{unit}"


def figure(value, unit):
    if value is None:
        return ""
    return f"{value:.0f}{unit}" if unit == " MB" else f"{value:.3f}{unit}" if unit else f"{value:.2f}"


def both(result, read, digits):
    """Sheaf's figure and the peer's, such as "1.2 / 3.4"."""
    values = [read(side) for side in ("sheaf", "peer") if getattr(result, side)]
    return " / ".join(f"{value:.{digits}f}" for value in values)


def line(goal, result):
    """A goal's cells."""
    if result.error:
        return [goal.what] + [""] * 5 + ["FAILED", "", ""]
    sheaf, peer, value, unit = KINDS[goal.kind](result)
    cells = [goal.what, sheaf, peer, figure(value, unit)]
    cells += [target(goal, goal.limit, unit), target(goal, goal.aim, unit), verdict(goal, value)]
    if goal.kind in ("size", "peak"):
        return cells + ["", ""]
    return cells + [both(result, lambda side: result.best(side).cpu, 2), both(result, result.peak, 0)]


def table(results, sheaf_runs):
    """The Markdown table of (row, result) pairs."""
    lines = [line(goal, result) for row, result in results for goal in row.goals]
    if sheaf_runs.sheaf:
        lines.append(line(OVERALL, sheaf_runs))
    rows = [COLUMNS] + lines
    widths = [max(len(cells[column]) for cells in rows) for column in range(len(COLUMNS))]
    rows.insert(1, ["-" * width for width in widths])
    return "\n".join(
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(cells, widths)) + " |" for cells in rows
    )


def raw(results, bench):
    """Every figure, for --json."""
    rows = [
        {
            "goals": [dataclasses.asdict(goal) for goal in row.goals],
            "sheaf_command": row.sheaf,
            "peer_command": row.peer,
            **dataclasses.asdict(result),
        }
        for row, result in results
    ]
    peak = bench.sheaf_runs.peak("sheaf")
    return {"machine": machine(), "scale": bench.scale, "rows": rows, "peak": peak}


# The program.


def options():
    parser = argparse.ArgumentParser(
        description="Measures sheaf against tar, igzip, openssl, restic and borg."
    )
    parser.add_argument("--sheaf", default=".build/release/sheaf", help="the sheaf program")
    parser.add_argument("--work", default="/dev/shm/sheaf-bench", help="directory for all data")
    parser.add_argument("--disk", default=".bench", help="directory on a real disk")
    parser.add_argument("--linux", help="a Linux source tree to use; it is only read")
    parser.add_argument("--rounds", type=int, default=5, help="runs of each command")
    parser.add_argument("--scale", type=float, default=1.0, help="shrink inputs, to try the bench out")
    parser.add_argument(
        "--only", action="append", default=[], metavar="SUBSTRING",
        help="only rows with this in a line's name; may be repeated",
    )
    parser.add_argument("--no-peers", action="store_true", help="leave restic and borg out")
    parser.add_argument("--list", action="store_true", help="list the rows and end")
    parser.add_argument("--json", metavar="FILE", help="write the raw figures there")
    args = parser.parse_args()
    if args.rounds < 1 or not 0 < args.scale <= 1:
        parser.error("--rounds must be at least 1, and --scale above 0 and at most 1")
    return args


def chosen(args):
    """The rows the options ask for."""
    words = [word.lower() for word in args.only]
    rows = [row for row in ROWS if not (args.no_peers and OPTIONAL_TOOLS.intersection(row.tools))]
    if not words:
        return rows
    return [row for row in rows if any(w in goal.what.lower() for w in words for goal in row.goals)]


def run_all(bench, rows):
    check_room(bench, rows)
    results = []
    for index, row in enumerate(rows):
        say(row.goals[0].what)
        result = bench.measure(row)
        results.append((row, result))
        for goal in row.goals:
            say("  " + " | ".join(line(goal, result)))
        bench.drop_all_but(needed_from(rows[index + 1 :]))
    return results


def main():
    args = options()
    rows = chosen(args)
    if args.list:
        print("\n".join(goal.what for row in rows for goal in row.goals))
        return 0
    if not rows:
        sys.exit("bench.py: no row has that name")
    if not os.access(args.sheaf, os.X_OK):
        sys.exit(f"bench.py: {args.sheaf} is not a program; build sheaf first, or use --sheaf")
    tools = find_tools(rows)
    rows = [row for row in rows if tools.issuperset(row.tools) or not OPTIONAL_TOOLS.intersection(row.tools)]
    bench = Bench(args, tools)
    locks = [claim(bench.work), claim(bench.disk)]
    try:
        results = run_all(bench, rows_with_disk_room(bench, rows))
    finally:
        for directory in (bench.work, bench.disk):
            remove(directory)
        del locks
    note = "" if args.scale == 1 else f"; inputs scaled by {args.scale:g}, so no verdict counts"
    print(f"{machine()}; {args.rounds} rounds{note}\n")
    print(table(results, bench.sheaf_runs))
    if args.json:
        Path(args.json).write_text(json.dumps(raw(results, bench), indent=1) + "\n")
    return 1 if any(result.error for _, result in results) else 0


if __name__ == "__main__":
    sys.exit(main())
