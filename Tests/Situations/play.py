#!/usr/bin/env python3
"""Plays a situation in a real terminal, and compares what it shows with what is kept.

    play.py --sheaf PROGRAM [--write] FILE...

In a FILE, `$ ` stands before what is typed, and `> ` before the answers to what
is asked then; what the terminal shows follows.
`# task: ` begins a task, which may take three commands of sheaf at most. `#! `
is what happens beside the terminal, in the words of sh and of BESIDE; other
lines with `#` are remarks. The terminal has 80 columns; NAME-60.txt is what
NAME.txt looks like on 60. Each situation has mounts and a host name of its own,
so it needs root, and loop devices for the drives; its user is not root. What
differs from run to run is put into place by `Shown`. --write keeps what is
shown.
"""

import argparse
import difflib
import itertools
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

MOST = 3
ROWS = 120
PATIENCE = 60
# What changed in the two seconds before a run is read again by the next.
SETTLED = 2.2
# A drive is there or not; `machine NAME` is another computer, with an empty home. $W is the work folder.
BESIDE = """
drive() { truncate -s 32M "$W/$1"; mkfs.ext4 -q -L "$1" -E root_owner=1000:1000 "$W/$1"; }
plug() { mkdir -p "/media/$1"; mount -o loop "$W/$1" "/media/$1"; rm -rf "/media/$1/lost+found"; }
unplug() { umount "/media/$1"; rmdir "/media/$1"; }
machine() {
  hostname "$1"; echo "$1" | md5sum | cut -c 1-32 >"$W/machine-id"
  rm -rf /home/ann; mkdir /home/ann; chown 1000:1000 /home/ann
}
same_times() { find "$@" -newermt 2026-11-20T12:00Z -exec touch -h -d 2026-11-20T12:00Z {} +; }
cd /home/ann 2>/dev/null || :
"""
OWNED = "\nfind /home/ann ! -uid 1000 -exec chown -h 1000:1000 {} +"


class Shown:
    """The points of a situation, which are made within seconds, as if one was made each minute from six o'clock on."""

    DAY = "2026-11-24"
    IDENTITY = "5d0c1b7e-3c55-4f0e-9a57-3f6f0d1c2b4e"
    # The terminal may have broken it anywhere.
    ANY_IDENTITY = r"\n?".join("-" if each == "-" else "[0-9a-f]" for each in IDENTITY)
    SAME = [
        (r"\bin \d+(\.\d+)? m?s\b", "in 20 ms"),
        (r"\b\d+ (?:s|min) ago|\bjust now", "1 min ago"),
        # Sets of little more than their heads; in a table they stand at the right.
        (r"^( +)(?:\d{3} B|[1-5]\.\d kB)", r"\g<1>1.0 kB"),
        (r"(?<=  ) (\d{3} B)", "1.0 kB"),
        (r"\b\d{3} B", "1.0 kB"),
        (r"\b[1-5]\.\d kB", "1.0 kB"),
    ]

    def __init__(self):
        self.points, self.stores = [], []

    def of(self, text):
        today = time.strftime("%Y-%m-%d", time.gmtime())
        text = re.sub(self.ANY_IDENTITY, self.same_identity, text)
        for point in sorted(set(re.findall(today + r"T\d{6}Z", text))):
            if point not in self.points:
                self.points.append(point)
        told = {point: minute for minute, point in enumerate(self.points)}
        lines = []
        for line in text.split("\n"):
            named = re.findall(today + r"T\d{6}Z", line)
            # In a table the local time stands beside the name.
            minute = told[named[0]] if named else 0
            line = re.sub(today + r"T\d{6}Z", lambda match: self.name(told[match[0]]), line)
            line = re.sub(today + r" \d\d:\d\d", f"{self.DAY} 06:{minute:02}", line).replace(today, self.DAY)
            for store in re.findall(r"\bstore ([0-9a-f]{8})\b", line):
                if store not in self.stores:
                    self.stores.append(store)
            for number, store in enumerate(self.stores, 1):
                line = line.replace(store, f"{number}" * 8)
            for pattern, same in self.SAME:
                line = re.sub(pattern, same, line)
            # restore.sh takes archives in any order.
            if line.startswith("reading ") and lines and lines[-1].startswith("reading "):
                lines[-1:], line = [min(lines[-1], line)], max(lines[-1], line)
            lines.append(line.rstrip())
        return "\n".join(lines)

    def same_identity(self, match):
        rest = iter(self.IDENTITY)
        return "".join(each if each == "\n" else next(rest) for each in match[0])

    def typed(self, text):
        for minute, point in enumerate(self.points):
            text = text.replace(self.name(minute).removesuffix("Z"), point.removesuffix("Z"))
        return text.replace(self.DAY, time.strftime("%Y-%m-%d", time.gmtime()))

    def name(self, minute):
        return f"{self.DAY}T06{minute:02}00Z"


class Terminal:
    """A shell in tmux, with a server of its own: one that was told to end may still be there."""

    NUMBERS = itertools.count()

    def __init__(self, work, columns):
        self.work, self.columns = work, columns
        self.prompts = work / "prompts"
        self.tmux_line = ["tmux", "-u", "-f", "/dev/null", "-S", str(work / f"tmux-{next(self.NUMBERS)}")]
        self.prompts.write_text("")
        os.chown(self.prompts, 1000, 1000)
        environment = {
            "HOME": "/home/ann", "USER": "ann", "LC_ALL": "C.UTF-8", "TZ": "UTC", "SHELL": "/bin/bash",
            "PATH": f"{work}/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "PS1": "$ ",
            "PROMPT_COMMAND": f"echo >>{self.prompts}", "TERM": "xterm-256color", "HISTFILE": "/dev/null",
        }
        self.tmux("new-session", "-d", "-x", str(columns), "-y", str(ROWS), "-c", "/home/ann",
                  "setpriv", "--reuid=1000", "--regid=1000", "--clear-groups", "env", "-i",
                  *[f"{name}={value}" for name, value in environment.items()], "bash", "--noprofile", "--norc")
        self.wait_for_prompt(1)

    def tmux(self, *arguments):
        ran = subprocess.run(self.tmux_line + list(arguments), capture_output=True, text=True, check=True,
                             env={**os.environ, "LC_ALL": "C.UTF-8"})
        return ran.stdout

    def screen(self):
        return self.tmux("capture-pane", "-p").rstrip("\n").split("\n")

    def wait(self, what, is_so):
        end = time.monotonic() + PATIENCE
        while not is_so():
            if time.monotonic() > end:
                sys.exit(f"no {what}:\n" + "\n".join(self.screen()))
            time.sleep(0.02)

    def wait_for_prompt(self, count):
        self.wait("prompt", lambda: len(self.prompts.read_text()) >= count and self.screen()[-1].strip() == "$")

    def play(self, line, answers):
        """What is below the line after it was typed."""
        self.tmux("send-keys", "C-l")
        self.wait("empty screen", lambda: [each.strip() for each in self.screen()] == ["$"])
        count = len(self.prompts.read_text())
        self.tmux("send-keys", "-l", line)
        self.tmux("send-keys", "Enter")
        before = None
        for answer in answers:
            self.wait("question", lambda: self.screen() != before and self.screen()[-1].rstrip().endswith(":"))
            before = self.screen()
            self.tmux("send-keys", "-l", answer)
            self.tmux("send-keys", "Enter")
        self.wait_for_prompt(count + 1)
        echoed = -(-(2 + len(line)) // self.columns)
        return "\n".join(self.screen()[echoed:-1])

    def end(self):
        subprocess.run(self.tmux_line + ["kill-server"], capture_output=True)


def play(text, work, columns, problems):
    """The whole situation as it is seen now."""
    shown, terminal, seen = Shown(), None, []
    task, count, changed = None, 0, 0
    lines = text.split("\n")
    for at, line in enumerate(lines):
        if line.startswith("# task:"):
            task, count = line, 0
        if line.startswith("#! "):
            if terminal and "machine " in line:
                terminal.end()
                terminal = None
            script = BESIDE + shown.typed(line[3:]) + OWNED
            subprocess.run(["sh", "-ec", script], env={**os.environ, "W": str(work)}, check=True)
            changed = time.time()
        if line.startswith("#") or (not line and (not seen or seen[-1].startswith("#"))):
            if line.startswith("# task:") and seen and not seen[-1].startswith("#"):
                seen.append("")
            seen.append(line)
        elif line.startswith("$ "):
            count += len(re.findall(r"(?:^|[;|&]\s*)(?:sudo )?sheaf\b", line[2:]))
            if count > MOST:
                problems.append(f"more than {MOST} commands: {task}")
            terminal = terminal or Terminal(work, columns)
            answers = [each[2:] for each in itertools.takewhile(lambda each: each.startswith("> "), lines[at + 1:])]
            seen += [line] + [f"> {answer}" for answer in answers]
            # No two points have one second, and none is of a moment after which files may still change unseen.
            if re.search(r"sheaf (backup|run|import|prune|consolidate)", line):
                time.sleep(max(0, changed + SETTLED - time.time()))
                time.sleep(1.05 - time.time() % 1)
            screen = shown.of(terminal.play(shown.typed(line[2:]), answers))
            seen += screen.split("\n") if screen else []
    if terminal:
        terminal.end()
    return "\n".join(seen).rstrip("\n") + "\n"


def prepare(work, sheaf):
    """An empty /home and /media, and the program and a machine of their own."""
    (work / "bin").mkdir()
    shutil.copy(sheaf, work / "bin/sheaf")
    for child in ("home", "media"):
        aside = work / f"old-{child}"
        aside.mkdir()
        run("mount", "--rbind", f"/{child}", aside)
        run("mount", "-t", "tmpfs", "none", f"/{child}")
        # The program's libraries may lie in someone's home.
        for entry in aside.iterdir():
            if entry.is_dir() and entry.name != "ann":
                (Path("/") / child / entry.name).mkdir()
                run("mount", "--rbind", entry, Path("/") / child / entry.name)
    for file, line in (("passwd", "ann:x:1000:1000:Ann:/home/ann:/bin/bash"), ("group", "ann:x:1000:")):
        others = [each for each in Path("/etc", file).read_text().splitlines() if ":1000:" not in each]
        (work / file).write_text("\n".join(others + [line, ""]))
        run("mount", "--bind", work / file, f"/etc/{file}")
    if os.path.isdir("/etc/sheaf"):
        run("mount", "-t", "tmpfs", "none", "/etc/sheaf")
    (work / "machine-id").write_text("")
    for file in ("/etc/machine-id", "/var/lib/dbus/machine-id"):
        if os.path.isfile(file):
            run("mount", "--bind", work / "machine-id", file)


def run(*arguments):
    subprocess.run([str(each) for each in arguments], check=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sheaf", type=Path, required=True)
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("files", type=Path, nargs="+")
    given = parser.parse_args()
    if not given.inside:
        failed = False
        for file in given.files:
            own = ["--sheaf", str(given.sheaf.resolve())] + ["--write"] * given.write
            alone = ["unshare", "--mount", "--uts", "--propagation", "private"]
            line = alone + [sys.executable, str(Path(__file__).resolve())]
            failed |= subprocess.run(line + own + ["--inside", str(file.resolve())]).returncode != 0
        sys.exit(failed)

    # All points of a situation are of one day.
    if time.time() % 86400 > 86400 - 90:
        time.sleep(91)
    (file,) = given.files
    name = re.fullmatch(r"(.+?)(?:-(\d+))?\.txt", file.name)
    columns = int(name[2] or 80)
    typed = file.with_name(name[1] + ".txt").read_text()
    # Opened before /home is another.
    kept = os.open(file, os.O_RDWR | os.O_CREAT if given.write else os.O_RDONLY, 0o644)
    text = os.read(kept, 1 << 20).decode()
    problems = []
    with tempfile.TemporaryDirectory(prefix="sheaf-situation-") as work:
        os.chmod(work, 0o755)
        work = Path(work)
        run("mount", "-t", "tmpfs", "none", work)
        try:
            prepare(work, given.sheaf)
            seen = play(typed, work, columns, problems)
        finally:
            for socket in work.glob("tmux-*"):
                subprocess.run(["tmux", "-S", str(socket), "kill-server"], capture_output=True)
            # The namespace takes the mounts below it along.
            run("umount", "-l", work)
    if given.write:
        os.truncate(kept, 0)
        os.pwrite(kept, seen.encode(), 0)
    elif seen != text:
        difference = difflib.unified_diff(text.splitlines(), seen.splitlines(), "kept", "seen", n=3, lineterm="")
        problems.append(f"{file.name} is not what is kept:\n" + "\n".join(difference))
    print("\n".join(problems), end="\n" * bool(problems))
    sys.exit(bool(problems))


main()
