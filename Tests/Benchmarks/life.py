#!/usr/bin/env python3
"""What a rename, a chmod, many small backups and a prune cost: Sheaf beside tar -g, dar, duplicity, borg and restic.

One tree, edited the same way for each program in turn: a full backup; the top folder renamed; `chmod -R`; then so many
backups with a hundredth of the files changed before each; then all but the newest four points removed, where the program can.
Bytes are what the store grew by. Prints a table in Markdown. Programs that are not installed are left out.
"""
import argparse
import os
import random
import shutil
import subprocess
import sys
import time

ENV = dict(os.environ, BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK="yes", BORG_RELOCATED_REPO_ACCESS_IS_OK="yes",
           RESTIC_PASSWORD="x", PASSPHRASE="x", LC_ALL="C.UTF-8")


def run(*argv, cwd=None, ok=(0,)):
    done = subprocess.run(argv, cwd=cwd, env=ENV, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    if done.returncode not in ok:
        sys.exit(f"{argv}: {done.returncode}: {done.stderr.decode('utf-8', 'replace')[-2000:]}")


def size(path):
    total = 0
    for directory, _, files in os.walk(path):
        for name in files:
            total += os.lstat(os.path.join(directory, name)).st_size
    return total


class Program:
    """`number` counts the backups of one store, from 0."""
    keeps_four = True

    def __init__(self, home, source, sheaf):
        self.home, self.source, self.sheaf = home, source, sheaf
        self.store = os.path.join(home, "store")
        self.cache = os.path.join(home, "cache")
        os.makedirs(self.store)
        os.makedirs(self.cache)
        self.begin()

    def begin(self):
        pass


class Sheaf(Program):
    name = "Sheaf"

    def begin(self):
        run(self.sheaf, "init", "-q", "-s", self.store)

    def backup(self, number):
        run(self.sheaf, "backup", "-q", "-s", self.store, "--series", "s", self.source)

    def prune(self):
        run(self.sheaf, "prune", "-q", "-s", self.store, "--fold", "--keep-last", "4")


class Tar(Program):
    name, program, keeps_four = "tar -g", "tar", False

    def backup(self, number):
        run("tar", "-g", f"{self.cache}/snar", "-czf", f"{self.store}/{number:03}.tar.gz", "-C", self.source, ".")


class Dar(Program):
    name, program, keeps_four = "dar", "dar", False

    def backup(self, number):
        older = ["-A", f"{self.store}/{number - 1:03}"] if number else []
        run("dar", "-c", f"{self.store}/{number:03}", "-R", self.source, "-z1", "-Q", "-q", *older, ok=(0, 5, 11))


class Duplicity(Program):
    name, program, keeps_four = "duplicity", "duplicity", False

    def backup(self, number):
        run("duplicity", "--no-encryption", "--archive-dir", self.cache, "--allow-source-mismatch", self.source,
            f"file://{self.store}")


class Borg(Program):
    name, program = "borg", "borg"

    def begin(self):
        ENV["BORG_BASE_DIR"] = self.cache
        run("borg", "init", "-e", "none", self.store)

    def backup(self, number):
        run("borg", "create", "-C", "lz4", f"{self.store}::{number:03}", ".", cwd=self.source)

    def prune(self):
        run("borg", "prune", "--keep-last", "4", self.store)
        run("borg", "compact", self.store)


class Restic(Program):
    name, program = "restic", "restic"

    def begin(self):
        run("restic", "-q", "--cache-dir", self.cache, "-r", self.store, "init")

    def backup(self, number):
        run("restic", "-q", "--cache-dir", self.cache, "-r", self.store, "backup", self.source)

    def prune(self):
        run("restic", "-q", "--cache-dir", self.cache, "-r", self.store, "forget", "--keep-last", "4", "--prune")


def edit(source, rng):
    files = sorted(os.path.join(d, f) for d, _, fs in os.walk(source) for f in fs)
    files = [f for f in files if not os.path.islink(f)]
    for path in rng.sample(files, max(1, len(files) // 100)):
        with open(path, "ab") as out:
            out.write(rng.randbytes(200))


def measure(kind, args):
    home = os.path.join(args.work, kind.name.replace(" ", ""))
    source = os.path.join(home, "source")
    os.makedirs(home)
    run("cp", "-a", args.tree, f"{home}/tree")
    os.makedirs(source)
    os.rename(f"{home}/tree", f"{source}/top")
    time.sleep(3)
    program = kind(home, source, args.sheaf)
    rng = random.Random(5)
    rows, number = {}, 0

    def step(what, body):
        before, began = size(program.store), time.monotonic()
        body()
        rows[what] = (size(program.store) - before, time.monotonic() - began)

    def backup():
        nonlocal number
        program.backup(number)
        number += 1

    step("full", backup)
    os.rename(f"{source}/top", f"{source}/other")
    step("rename", backup)
    run("chmod", "-R", "g+w", source)
    step("chmod", backup)
    grew, took = 0, 0.0
    for _ in range(args.backups):
        edit(source, rng)
        if kind in (Tar, Dar, Duplicity):
            time.sleep(1.1)  # they tell versions apart by the second
        step("one", backup)
        grew += rows["one"][0]
        took += rows["one"][1]
    rows["many"] = (grew, took)
    if kind.keeps_four:
        step("prune", program.prune)
        rows["left"] = (size(program.store), 0)
    shutil.rmtree(home)
    return rows


def figure(row):
    if row is None:
        return "whole chains only"
    grown, seconds = row
    return f"{grown / 1e6:,.1f} MB, {seconds:.1f} s"


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--sheaf", required=True)
    parser.add_argument("--tree", required=True, help="what is backed up")
    parser.add_argument("--work", required=True, help="an empty or missing directory with room for it")
    parser.add_argument("--backups", type=int, default=52)
    parser.add_argument("--only", action="append", metavar="NAME", help="only this program; may be repeated")
    args = parser.parse_args()
    args.sheaf = os.path.abspath(args.sheaf)
    os.makedirs(args.work, exist_ok=True)
    kinds = [k for k in (Sheaf, Tar, Dar, Duplicity, Borg, Restic) if k is Sheaf or shutil.which(k.program)]
    kinds = [k for k in kinds if not args.only or k.name in args.only]
    print(f"tree: {size(args.tree) / 1e6:,.0f} MB, {sum(len(f) for _, _, f in os.walk(args.tree)):,} files\n")
    print(f"| | full | top folder renamed | chmod -R | {args.backups} backups, 1 % changed each | prune to the newest 4 |")
    print("|---|---|---|---|---|---|")
    for kind in kinds:
        rows = measure(kind, args)
        cells = [figure(rows.get(what)) for what in ("full", "rename", "chmod", "many", "prune")]
        print(f"| {kind.name} | " + " | ".join(cells) + " |", flush=True)


main()
