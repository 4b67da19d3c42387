#!/usr/bin/env python3
"""Five days of backups of one tree, by Sheaf and by what it replaces, side by side; prints a Markdown table.

`make days` runs it. A tree of some 20,000 files and 400 MB is made from a seed. Before each day but the first it is
edited as on a working day: new files, edits of the same size, edits that keep the time, files cut short or put back
with an older time, rotated logs, deletions, chmod and chown, links, attributes, a file that becomes a folder, a
database that is written to, once a renamed top folder. Then each tool saves that very tree; the order of the tools
turns from day to day. On one day each tool is killed (SIGKILL, with all its children) after half of the time that its
quickest day but the first took, and run again.

A listing of each day is kept: path, kind, mode, owner, time to the nanosecond, size, SHA-256, link target, hard links,
extended attributes. It is taken before the tools run, so all find the same warm cache. In the end each day is restored
from each store, in the best way that the tool or a user who knows it has, and compared with the listing. That the
comparison can fail is tried at each start, on damaged copies.

What the columns say:
  first day   seconds
  other days  seconds, the median; the day of the kill does not count
  CPU         seconds of all days but that of the kill, with those of child processes
  store       bytes of the files in the store after the last day, hard-linked ones once
  contents    days that came back with the same names, kinds, contents and link targets, and nothing more
  metadata    those of them of which modes, owners, times, hard links and attributes are right, too
  versions    of all contents that came or went within the days: how many some restored day has

With several rounds, seconds and bytes are medians, and of what came back the worst round counts. The store and the tree
lie below --work, best on a memory file system, so that the figures are those of the programs. Everything should be run
as root: otherwise owners are left out. Nothing is installed; what is missing is told, and its rows are left out.
"""

import argparse
import collections
import gzip
import json
import os
import platform
import shlex
import shutil
import signal
import statistics
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.dont_write_bytecode = True
import daystree  # noqa: E402

SETTLE = 2.5  # seconds from an edit to the backups, so that no time stamp is of the second of a backup


# The tools. `save` gives the command of a day, `restore` the commands that bring a day back, `restored` where it is.


class Tool:
    name = ""
    program, package = None, None
    how = ""  # for the note below the table
    readable = ""  # without the tool itself
    why = ""  # what explains differences
    fine = (0,)  # exit codes

    def __init__(self, home, source, sheaf):
        self.home, self.source, self.sheaf = home, source, sheaf
        self.store, self.cache = home / "store", home / "cache"
        self.env = environment(home)
        for folder in (self.store, self.cache, home / "user"):
            folder.mkdir(parents=True)

    def begin(self):
        """Commands that make an empty store."""
        return []

    def after_kill(self):
        """Commands that a user would give before the next run."""
        return []

    def saved(self, day):
        """Called after each day."""

    def restored(self, out):
        return out


def environment(home):
    """The user's, but for a home of its own and for what the programs read from it."""
    own = ("XDG_", "SHEAF_", "BORG_", "RESTIC_", "RSYNC_", "TAR_OPTIONS")
    return {name: value for name, value in os.environ.items() if not name.startswith(own)} | {
        "HOME": str(home / "user"), "LC_ALL": "C.UTF-8", "BORG_BASE_DIR": str(home / "cache"), "BORG_PASSPHRASE": "x",
        "BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK": "yes", "RESTIC_PASSWORD": "x",
        "RESTIC_CACHE_DIR": str(home / "cache"), "RESTIC_REPOSITORY": str(home / "store"),
    }


def shell(*words):
    """Commands for sh; words are quoted but for the operators between them."""
    return ["sh", "-c", " ".join(word if word in ("&&", "|") else shlex.quote(str(word)) for word in words)]


class Sheaf(Tool):
    name, how = "Sheaf", "sheaf backup"
    readable = "yes: `restore.sh`, tar"
    encrypt, key = [], []

    def begin(self):
        self.points = {}
        return [[self.sheaf, "init", "-q", "-s", self.store, *self.encrypt]]

    def save(self, day):
        return [self.sheaf, "backup", "-q", "-s", self.store, self.source]

    def saved(self, day):
        command = [self.sheaf, "points", "--json", "-s", self.store]
        lines = subprocess.run(command, env=self.env, check=True, capture_output=True).stdout.splitlines()
        points = [line for line in map(json.loads, lines) if line["type"] == "point"]
        self.points[day] = points[-1]["set"]

    def restore(self, day, out):
        return [[self.sheaf, "restore", "-q", "-s", self.store, "--at", self.points[day], "--to", out]]

    def restored(self, out):
        return out / self.source.relative_to("/")

    def restore_without(self, day, out):
        """With what lies on the drive, and no Sheaf."""
        key = [word for file in (self.home / "user/.config/sheaf/keys").glob("*.key") for word in ("--key", file)]
        return [["sh", self.store / "restore.sh", "--at", self.points[day], "--to", out, *key]]


class SheafEncrypted(Sheaf):
    name, how, encrypt = "Sheaf, encrypted", "sheaf init --encrypt", ["--encrypt"]
    readable = "yes: `restore.sh`, age and tar"


class RsyncPlan(Tool):
    program = package = "rsync"
    options = "-avb"
    name, how = "rsync and a folder of what it replaced", "rsync -avb --delete --backup-dir=increments/DAY"
    readable = "yes: files"
    why = "the backup-dirs do not tell which files were new or moved; edits that keep size and time are passed over"

    def save(self, day):
        increment = f"--backup-dir={self.store}/increments/{day}"
        return ["rsync", self.options, "--delete", increment, f"{self.source}/", f"{self.store}/current/"]

    def saved(self, day):
        self.last = day

    def restore(self, day, out):
        """The newest copy, and over it what each later day replaced, newest first. Times of folders are not theirs."""
        options = self.options.replace("b", "")
        back = [self.store / "increments" / str(later) for later in range(self.last, day, -1)]
        return [["rsync", options, f"{self.store}/current/", f"{out}/"]] + [
            ["rsync", options, "-IO", "--force", f"{folder}/", f"{out}/"] for folder in back if folder.exists()
        ]


class RsyncPlanAll(RsyncPlan):
    name, options, how = "the same with `-AXH`", "-aAXHvb", "rsync -aAXHvb --delete --backup-dir=increments/DAY"


class RsyncTrees(Tool):
    program = package = "rsync"
    name, how = "rsync, a tree for each day", "rsync -aAXH --delete --link-dest=…/DAY-BEFORE, renamed when done"
    readable = "yes: files"
    why = "edits that keep size and time are passed over"
    more = []

    def begin(self):
        self.before = None
        return []

    def save(self, day):
        older = [f"--link-dest={self.store}/{self.before}"] if self.before else []
        command = ["rsync", "-aAXH", "--delete", *self.more, *older, f"{self.source}/", f"{self.store}/{day}.partial/"]
        return shell(*command, "&&", "mv", f"{self.store}/{day}.partial", f"{self.store}/{day}")

    def saved(self, day):
        self.before = day

    def restore(self, day, out):
        return [["cp", "-a", f"{self.store}/{day}/.", out]]


class RsyncTreesChecked(RsyncTrees):
    name, how, more = "the same with `--checksum`", "rsync -aAXH --checksum …", ["--checksum"]
    why = ""


class TarChain(Tool):
    name, program, package = "GNU tar, `-g`", "tar", "tar"
    how = "tar -cz -g, with a copy of the list that takes its place when done, --xattrs, --acls"
    readable = "yes: it is tar"
    metadata = ["--xattrs", "--xattrs-include=*", "--acls"]

    def save(self, day):
        archive, list_ = f"{self.store}/{day}.tar.gz", self.cache / "list"
        copy = ["cp", list_, f"{list_}.new", "&&"] if list_.exists() else ["rm", "-f", f"{list_}.new", "&&"]
        tar = ["tar", "-C", self.source, *self.metadata, "-g", f"{list_}.new", "-czf", f"{archive}.partial", ".", "&&"]
        return shell(*copy, *tar, "mv", f"{archive}.partial", archive, "&&", "mv", f"{list_}.new", list_)

    def restore(self, day, out):
        extract = ["tar", "-C", out, *self.metadata, "--numeric-owner", "-p", "-g", "/dev/null", "-xzf"]
        return [[*extract, f"{self.store}/{each}.tar.gz"] for each in range(1, day + 1)]


class HomeMade(Tool):
    name = "a home-made script"
    how = "a folder for each day with what is newer by more than a second, gzip above 100,000 bytes, eight threads"
    readable = "yes: files and gzip"
    why = "what is not newer is not saved, and what is deleted is not noticed"

    def save(self, day):
        return [sys.executable, __file__, "home-made", "save", self.source, self.store, str(day)]

    def restore(self, day, out):
        return [[sys.executable, __file__, "home-made", "restore", self.store, out, str(day)]]


class Borg(Tool):
    name, program, package = "borg", "borg", "borgbackup"
    how, encryption = "borg init -e none; lz4", "none"
    fine = (0, 1)  # 1: done, with warnings
    readable = "no"

    def begin(self):
        return [["borg", "init", "-e", self.encryption, self.store]]

    def save(self, day):
        return ["env", "-C", self.source, "borg", "create", "-C", "lz4", f"{self.store}::{day}", "."]

    def after_kill(self):
        return [["borg", "break-lock", self.store]]

    def restore(self, day, out):
        return [["env", "-C", out, "borg", "extract", "--numeric-ids", f"{self.store}::{day}"]]


class BorgEncrypted(Borg):
    name, how, encryption = "borg, encrypted", "borg init -e repokey-blake2; lz4", "repokey-blake2"


class Restic(Tool):
    name, program, package = "restic (encrypted)", "restic", "restic"
    how, readable = "restic backup, its own compression", "no"

    def begin(self):
        return [["restic", "-q", "init"]]

    def save(self, day):
        return ["restic", "-q", "backup", "--tag", f"day-{day}", self.source]

    def after_kill(self):
        return [["restic", "-q", "unlock"]]

    def restore(self, day, out):
        return [["restic", "-q", "restore", "latest", "--tag", f"day-{day}", "--target", out]]

    def restored(self, out):
        return out / self.source.relative_to("/")


class Duplicity(Tool):
    name, program, package = "duplicity", "duplicity", "duplicity"
    how, readable = "duplicity --no-encryption", "in part: tar; changed files are rdiff deltas"
    why = "edits that keep size and time are passed over; it keeps whole seconds, no hard links and no attributes"

    def begin(self):
        self.times = {}
        return []

    def common(self):
        return ["--no-encryption", "--archive-dir", self.cache]

    def save(self, day):
        return ["duplicity", *self.common(), "--no-print-statistics", self.source, f"file://{self.store}"]

    def saved(self, day):
        self.times[day] = int(time.time())

    def restore(self, day, out):
        at = ["--time", str(self.times[day]), "--numeric-owner", "--force"]
        return [["duplicity", "restore", *self.common(), *at, f"file://{self.store}", out]]


class RdiffBackup(Tool):
    name, program, package = "rdiff-backup", "rdiff-backup", "rdiff-backup"
    fine = (0, 2)  # 2: done, with warnings, as where it takes back what a killed run did
    how, readable = "rdiff-backup backup", "the newest day: files; older ones are rdiff deltas"
    why = "edits that keep size and time are passed over; it keeps whole seconds"

    def begin(self):
        self.times = {}
        return []

    def save(self, day):
        return ["rdiff-backup", "backup", self.source, self.store]

    def saved(self, day):
        self.times[day] = int(time.time()) + 1

    def restore(self, day, out):
        return [["rdiff-backup", "--force", "restore", "--at", str(self.times[day]), self.store, out]]


TOOLS = [Sheaf, SheafEncrypted, RsyncPlan, RsyncPlanAll, RsyncTrees, RsyncTreesChecked, TarChain, HomeMade, Borg,
         BorgEncrypted, Restic, Duplicity, RdiffBackup]


# The home-made script: such as people have, but for a name that tells its own gzip files from others, and for files
# that appear whole. A day is what all folders up to it have, newer ones over older ones.

PACKED, PARTIAL = ".packed.gz", ".partial"


def home_made_save(source, store, day):
    newest = {}
    for folder in sorted(store.iterdir(), key=lambda path: int(path.name)):
        for directory, _, files in os.walk(folder):
            for name in files:
                path = Path(directory, name)
                newest[str(path.relative_to(folder)).removesuffix(PACKED)] = path.lstat().st_mtime
    jobs, folders = [], []
    for directory, inside, files in os.walk(source):
        there = store / day / Path(directory).relative_to(source)
        there.mkdir(parents=True, exist_ok=True)
        folders.append((directory, there))
        links = [name for name in inside if os.path.islink(os.path.join(directory, name))]
        for name in files + links:
            path = Path(directory, name)
            known = newest.get(str(path.relative_to(source)))
            if known is None or path.lstat().st_mtime > known + 1:
                jobs.append((path, there / name))
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda job: home_made_copy(*job), jobs))
    for folder, there in reversed(folders):
        keep_metadata(folder, there)


def home_made_copy(path, there):
    if path.is_symlink():
        there.unlink(missing_ok=True)
        there.symlink_to(os.readlink(path))
        keep_metadata(path, there)
        return
    packed = path.stat().st_size > 100_000
    partial = f"{there}{PARTIAL}"
    with path.open("rb") as data, (gzip.open(partial, "wb", 6) if packed else open(partial, "wb")) as out:
        shutil.copyfileobj(data, out)
    keep_metadata(path, partial)
    os.replace(partial, f"{there}{PACKED}" if packed else there)


def keep_metadata(path, there):
    info = os.lstat(path)
    if os.geteuid() == 0:
        os.chown(there, info.st_uid, info.st_gid, follow_symlinks=False)
    shutil.copystat(path, there, follow_symlinks=False)


def home_made_restore(store, out, day):
    made = {}
    for number in range(1, int(day) + 1):
        folder = store / str(number)
        for directory, _, files in os.walk(folder):
            there = out / Path(directory).relative_to(folder)
            if there.is_symlink() or there.is_file():
                there.unlink()
            there.mkdir(exist_ok=True)
            made[there] = directory
            links = [name for name in os.listdir(directory) if os.path.islink(os.path.join(directory, name))]
            for name in {*files, *links}:
                home_made_back(Path(directory, name), there / name.removesuffix(PACKED))
    for there in sorted(made, reverse=True):
        if there.is_dir():
            keep_metadata(made[there], there)


def home_made_back(path, there):
    if path.name.endswith(PARTIAL):
        return
    if there.is_dir() and not there.is_symlink():
        shutil.rmtree(there)
    there.unlink(missing_ok=True)
    if path.is_symlink():
        there.symlink_to(os.readlink(path))
    else:
        with (gzip.open(path) if path.name.endswith(PACKED) else path.open("rb")) as data, there.open("wb") as out:
            shutil.copyfileobj(data, out)
    keep_metadata(path, there)


# Running and measuring.


class Failed(Exception):
    """A command did not do what it should."""


Cost = collections.namedtuple("Cost", "seconds cpu ended")


def run(argv, env, fine=(0,), kill_after=None):
    """One command. With kill_after it gets SIGKILL after so many seconds, with all that it started."""
    argv = [os.fspath(word) for word in argv]
    with open(os.devnull, "wb") as nothing, Path(env["HOME"], "stderr").open("w+b") as errors:
        began = time.monotonic()
        process = subprocess.Popen(
            argv, env=env, stdin=subprocess.DEVNULL, stdout=nothing, stderr=errors, start_new_session=True
        )
        if kill_after is not None:
            timer = threading.Timer(kill_after, os.killpg, (process.pid, signal.SIGKILL))
            timer.start()
        # The process is reaped only when the timer is out of the way, so that its number is nobody else's by then.
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        seconds = time.monotonic() - began
        if kill_after is not None:
            timer.cancel()
            timer.join()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if kill_after is not None and process.returncode == -signal.SIGKILL:
            return Cost(seconds, 0, False)
        if process.returncode not in fine:
            errors.seek(0)
            said = errors.read().decode("utf-8", "replace").strip()
            raise Failed(f"{' '.join(argv)[:300]}: exit {process.returncode}: {said[-600:]}")
    return Cost(seconds, usage.ru_utime + usage.ru_stime, True)


def stored(store):
    """Bytes of all files, those with several names once."""
    sizes = {}
    for directory, _, files in os.walk(store):
        for name in files:
            info = os.lstat(os.path.join(directory, name))
            sizes[info.st_ino] = info.st_size
    return sum(sizes.values())


def say(*words):
    print(time.strftime("%H:%M:%S"), *words, file=sys.stderr, flush=True)


class Round:
    """The days of all tools on one tree, and what each has of them in the end."""

    def __init__(self, args, kinds, number):
        self.args, self.number = args, number
        self.home = args.work / f"round-{number}"
        self.source = self.home / "source"
        self.references = {}
        say(f"round {number + 1}: making the tree")
        daystree.make(self.source, args.seed, args.scale)
        self.tools = [kind(self.home / kind.__name__, self.source, args.sheaf) for kind in kinds]
        self.results = {tool.name: {"seconds": {}, "cpu": {}, "killed": None, "failures": []} for tool in self.tools}
        for tool in self.tools:
            for command in tool.begin():
                run(command, tool.env)

    def measure(self):
        for day in range(1, self.args.days + 1):
            if day > 1:
                daystree.edit(self.source, self.args.seed, day, self.args.scale)
            self.references[day] = daystree.listing(self.source)
            time.sleep(SETTLE)
            turn = (self.number * self.args.days + day) % len(self.tools)
            for tool in self.tools[turn:] + self.tools[:turn]:
                self.save(tool, day)
            if daystree.listing(self.source) != self.references[day]:
                raise Failed(f"day {day}: the tree is another than before the tools ran")
        for tool in self.tools:
            self.compare(tool)
        return self.results

    def save(self, tool, day):
        result = self.results[tool.name]
        try:
            if day == daystree.KILLED_ON:
                quickest = min((result["seconds"][earlier] for earlier in result["seconds"] if earlier > 1), default=1)
                cost = run(tool.save(day), tool.env, tool.fine, quickest / 2)
                result["killed"] = not cost.ended
                for command in tool.after_kill() if not cost.ended else ():
                    run(command, tool.env)
            else:
                cost = None
            if cost is None or not cost.ended:
                cost = run(tool.save(day), tool.env, tool.fine)
            result["seconds"][day], result["cpu"][day] = cost.seconds, cost.cpu
            tool.saved(day)
            say(f"day {day}: {tool.name}: {cost.seconds:.2f} s")
        except Failed as problem:
            result["failures"].append(f"day {day}: {problem}")
            say(f"day {day}: {tool.name}: FAILED: {problem}")
        # What a tool wrote may still be on its way to a disk: the next one shall not pay for it.
        subprocess.run(["sync", "-f", self.home], check=True)

    def compare(self, tool):
        result = self.results[tool.name]
        result["store"] = stored(tool.store)
        self.restore_all(tool, tool.restore, result)
        if hasattr(tool, "restore_without"):
            result["without"] = {"failures": result["failures"]}
            self.restore_all(tool, tool.restore_without, result["without"])
        shutil.rmtree(tool.home)

    def restore_all(self, tool, restore, result):
        result["differences"], found = {}, set()
        for day, wanted in self.references.items():
            out = tool.home / "out"
            out.mkdir()
            try:
                for command in restore(day, out):
                    run(command, tool.env, tool.fine)
            except (Failed, KeyError) as problem:
                result["failures"].append(f"day {day}, restoring: {problem}")
                say(f"restoring day {day}: {tool.name}: FAILED: {problem}")
            where = tool.restored(out)
            got = daystree.listing(where) if where.is_dir() else {}
            result["differences"][day] = told = daystree.differences(wanted, got)
            found |= {entry.digest for entry in got.values()}
            say(f"day {day} back: {tool.name}: {dict(told) or 'exact'}")
            if told and self.args.paths:
                self.show(wanted, got)
            shutil.rmtree(out)
        days = [{entry.digest for entry in listing.values()} for listing in self.references.values()]
        versions = set.union(*days) - set.intersection(*days)
        result["versions"] = [len(versions & found), len(versions)]

    def show(self, wanted, got):
        """Some paths that differ, for looking into a surprise."""
        paths = sorted(path for path in wanted.keys() | got.keys() if wanted.get(path) != got.get(path))
        for path in paths[: self.args.paths]:
            say(" ", path, wanted.get(path), got.get(path))


# What is told of it.


def summary(tool, rounds):
    """One tool's figures over all rounds."""
    def middle(values):
        values = list(values)
        return statistics.median(values) if values else None

    plain = [
        [(day, result["seconds"][day], result["cpu"][day]) for day in result["seconds"] if day != daystree.KILLED_ON]
        for result in rounds
    ]
    without = [result["without"]["differences"] for result in rounds if "without" in result]
    exact = [[not content_of(told) for told in result["differences"].values()] for result in rounds]
    whole = [[not told for told in result["differences"].values()] for result in rounds]
    worst = rounds[min(range(len(rounds)), key=lambda number: (sum(exact[number]), sum(whole[number])))]
    return {
        "name": tool.name, "how": tool.how, "readable": tool.readable, "why": tool.why,
        "first": middle(seconds for days in plain for day, seconds, _ in days if day == 1),
        "others": middle(seconds for days in plain for day, seconds, _ in days if day > 1),
        "cpu": middle(sum(cpu for _, _, cpu in days) for days in plain),
        "store": middle(result["store"] for result in rounds),
        "exact": min(map(sum, exact)), "whole": min(map(sum, whole)), "days": len(worst["differences"]),
        "versions": min(result["versions"] for result in rounds),
        "differences": {day: dict(told) for day, told in worst["differences"].items()},
        "without": [{day: dict(told) for day, told in differences.items()} for differences in without],
        "killed": [result["killed"] for result in rounds],
        "failures": [failure for result in rounds for failure in result["failures"]],
    }


def content_of(told):
    return {kind: count for kind, count in told.items() if kind in daystree.CONTENT_KINDS}


def figure(value, form, divisor=1.0):
    return "" if value is None else format(value / divisor, form)


def table(summaries):
    lines = [
        "| | first day | other days | CPU | store | contents exact | metadata too | versions | readable without it |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in summaries:
        readable = row["readable"]
        if row["without"]:
            exact = min(sum(not told for told in differences.values()) for differences in row["without"])
            readable += f", {exact} of {row['days']} days exact"
        cells = [
            row["name"], figure(row["first"], ".2f") + " s", figure(row["others"], ".2f") + " s",
            figure(row["cpu"], ".1f") + " s", figure(row["store"], ",.0f", 1e6) + " MB",
            f"{row['exact']} of {row['days']}", f"{row['whole']} of {row['days']}",
            "{} of {}".format(*row["versions"]), readable,
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def notes(summaries):
    """A line for each tool of which some day did not come back, or that could not be run as it should."""
    lines = []
    for row in summaries:
        total = collections.Counter()
        for told in row["differences"].values():
            total.update(told)
        days = [day for day, told in row["differences"].items() if told]
        if days:
            kinds = daystree.CONTENT_KINDS + daystree.METADATA_KINDS
            text = ", ".join(f"{kind} {total[kind]:,}" for kind in kinds if total[kind])
            why = f"; {row['why']}" if row["why"] else ""
            lines.append(f"- {row['name']}, day {', '.join(map(str, days))}: {text}{why}.")
        for differences in row["without"]:
            if any(differences.values()):
                lines.append(f"- {row['name']} by `restore.sh`: {differences}")
        if False in row["killed"]:
            times = row["killed"].count(False)
            lines.append(f"- {row['name']}: was done before it could be killed, in {times} round(s).")
        for failure in row["failures"]:
            lines.append(f"- {row['name']}: {failure}".replace("\n", " "))
    return "\n".join(lines)


def versions_of(kinds, sheaf):
    """The first line of each program's --version."""
    found = []
    for program in dict.fromkeys([sheaf] + [kind.program for kind in kinds if kind.program]):
        words = [program, "version"] if program == "restic" else [program, "--version"]
        said = subprocess.run(words, capture_output=True, text=True).stdout.split("\n")[0]
        found.append(said if program != sheaf else f"Sheaf {said}")
    return "; ".join(found)


def options():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--sheaf", default=".build/release/sheaf", help="the sheaf program")
    parser.add_argument("--work", default="/dev/shm/sheaf-days", help="a missing or empty directory for all data; 8 GB")
    parser.add_argument("--days", type=int, default=5)
    parser.add_argument("--seed", type=int, default=11, help="another tree, other edits")
    parser.add_argument("--rounds", type=int, default=3, help="how often all of it is done")
    parser.add_argument("--scale", type=float, default=1.0, help="shrink the tree, to try this out")
    parser.add_argument("--only", action="append", metavar="NAME", help="only rows with this in the name; repeatable")
    parser.add_argument("--paths", type=int, default=0, metavar="N", help="tell N paths of each day that is not exact")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print all figures as JSON")
    form.add_argument("--table", action="store_true", help="print a Markdown table (what it does anyway)")
    args = parser.parse_args()
    if args.days < 1 or args.rounds < 1 or not 0 < args.scale <= 1:
        parser.error("--days and --rounds must be at least 1, --scale above 0 and at most 1")
    args.sheaf, args.work = os.path.abspath(args.sheaf), Path(args.work).absolute()
    if not os.access(args.sheaf, os.X_OK):
        parser.error(f"{args.sheaf} is not a program; build sheaf first, or use --sheaf")
    if args.work.exists() and any(args.work.iterdir()):
        parser.error(f"{args.work} is not empty")
    return args


def chosen(args):
    """The tools that can be run, and a line for each one that is missing."""
    wanted = [kind for kind in TOOLS if not args.only or any(word in kind.name for word in args.only)]
    missing = {kind.program: kind.package for kind in wanted if kind.program and not shutil.which(kind.program)}
    told = [f"{program} is missing, and so are its rows: apt-get install {missing[program]}" for program in missing]
    return [kind for kind in wanted if kind.program not in missing], told


def main():
    args = options()
    kinds, missing = chosen(args)
    for line in missing:
        say(line)
    args.work.mkdir(parents=True, exist_ok=True)
    try:
        say("damaging copies, to see that the comparison tells it")
        if not daystree.prove(args.work):
            sys.exit("days.py: the comparison passes over damage")
        rounds = []
        for number in range(args.rounds):
            this = Round(args, kinds, number)
            rounds.append(this.measure())
            tree = this.references[1]
            shutil.rmtree(this.home)
    finally:
        shutil.rmtree(args.work, ignore_errors=True)
    summaries = [summary(kind, [results[kind.name] for results in rounds]) for kind in kinds]
    if args.json:
        print(json.dumps({"machine": platform.platform(), "days": args.days, "seed": args.seed, "rounds": args.rounds,
                          "scale": args.scale, "programs": versions_of(kinds, args.sheaf), "missing": missing,
                          "tools": summaries}, indent=1))
    else:
        files = [entry.size for entry in tree.values() if entry.digest]
        print(f"{len(files):,} files, {sum(files) / 1e6:,.0f} MB; {args.days} days, seed {args.seed}, {args.rounds} "
              f"round(s), {os.cpu_count()} processors. {versions_of(kinds, args.sheaf)}.\n")
        print(table(summaries) + "\n")
        print("\n".join(filter(None, [notes(summaries), *(f"- {line}" for line in missing)])))
    return 1 if any(row["failures"] for row in summaries) else 0


if __name__ == "__main__":
    if sys.argv[1:2] == ["home-made"]:
        home_made = {"save": home_made_save, "restore": home_made_restore}[sys.argv[2]]
        home_made(Path(sys.argv[3]), Path(sys.argv[4]), sys.argv[5])
    else:
        sys.exit(main())
