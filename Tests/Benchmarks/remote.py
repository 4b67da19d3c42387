#!/usr/bin/env python3
"""Measures sheaf on other machines: an SSH server and Ceph's object store, both on loopback, near and 30 ms away.

`make bench-remote` runs it, as root. The distance is a relay that keeps each piece of data for so long, in both
directions, without a limit on how much is under way. Beside it stand the same backup to a directory of the same disk,
scp of the bytes that come of it, and restic (left out where it is not installed). All alternate, and the fastest of the
rounds counts. Commands over ssh make a connection of their own each time, as a user's do; what that takes is a row.
"""

import argparse
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import bench

FIXTURES = Path(__file__).resolve().parent.parent.parent / "fixtures"
PASSWORD = "sheaf"

RELAY = r"""
import asyncio, sys
target, delay = int(sys.argv[1]), float(sys.argv[2]) / 1000
async def pump(reader, writer):
    loop, queue = asyncio.get_running_loop(), asyncio.Queue()
    async def send():
        while True:
            due, data = await queue.get()
            await asyncio.sleep(max(0, due - loop.time()))
            if not data:
                writer.close()
                return
            writer.write(data)
            await writer.drain()
    sending = asyncio.create_task(send())
    try:
        while True:
            data = await reader.read(1 << 18)
            queue.put_nowait((loop.time() + delay, data))
            if not data: break
    except ConnectionError: queue.put_nowait((0, b""))
    await asyncio.gather(sending, return_exceptions=True)
async def serve(reader, writer):
    there, back = await asyncio.open_connection("127.0.0.1", target, limit=1 << 22)
    await asyncio.gather(pump(reader, back), pump(there, writer), return_exceptions=True)
async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", 0, limit=1 << 22)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()
asyncio.run(main())
"""


class Place:
    """A work folder, the servers in it, and what they need to be reached."""

    def __init__(self, args):
        self.args = args
        self.work = Path(args.work)
        self.disk = Path(args.disk)
        self.sheaf = str(Path(args.sheaf).resolve())
        self.children = []
        for folder in (self.work, self.disk):
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
        self.home = self.work / "home"
        self.home.mkdir()
        self.env = dict(os.environ, HOME=str(self.home), RESTIC_PASSWORD=PASSWORD, SHEAF_SSH=str(self.work / "ssh"))
        for name in ("XDG_STATE_HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "SHEAF_STORE"):
            self.env.pop(name, None)

    def start(self, words, ready=None):
        child = subprocess.Popen(words, stdout=subprocess.PIPE, env=self.env, start_new_session=True)
        self.children.append(child)
        line = child.stdout.readline().decode()
        if not line:
            raise SystemExit(f"cannot start {words[0]}")
        return line.strip()

    def relay(self, port):
        return int(self.start([sys.executable, "-c", RELAY, str(port), str(self.args.delay)]))

    def end(self):
        for child in self.children:
            try:
                os.killpg(child.pid, signal.SIGTERM)
            except ProcessLookupError:
                pass

    def sh(self, command, **more):
        return subprocess.run(["sh", "-ec", command], env=self.env, check=True, capture_output=True, **more)

    # Servers.

    def start_ssh(self):
        folder, port = self.work / "sshd", 7522
        folder.mkdir(mode=0o700)
        Path("/run/sshd").mkdir(exist_ok=True)
        self.sh(f"ssh-keygen -q -t ed25519 -N '' -f {folder}/host; ssh-keygen -q -t ed25519 -N '' -f {folder}/id")
        (folder / "config").write_text(
            f"Port {port}\nListenAddress 127.0.0.1\nHostKey {folder}/host\nPidFile none\nUsePAM no\nStrictModes no\n"
            f"AuthorizedKeysFile {folder}/id.pub\nPasswordAuthentication no\nSubsystem sftp internal-sftp\n")
        server = subprocess.Popen(["/usr/sbin/sshd", "-D", "-f", f"{folder}/config"], start_new_session=True)
        self.children.append(server)
        far = self.relay(port)
        user = subprocess.check_output(["id", "-un"], text=True).strip()
        text = ""
        for name, number in (("near", port), ("far", far)):
            text += (
                f"Host {name}\n HostName 127.0.0.1\n Port {number}\n User {user}\n IdentityFile {folder}/id\n"
                " IdentitiesOnly yes\n StrictHostKeyChecking no\n UserKnownHostsFile /dev/null\n LogLevel ERROR\n")
        (folder / "client").write_text(text)
        (self.work / "ssh").write_text(f"#!/bin/sh\nexec ssh -F {folder}/client \"$@\"\n")
        (self.work / "ssh").chmod(0o755)
        for _ in range(100):
            if subprocess.run([self.work / "ssh", "near", "true"], env=self.env, stderr=subprocess.DEVNULL).returncode == 0:
                return
            time.sleep(0.05)
        raise SystemExit("sshd does not answer")

    def start_s3(self):
        port = 7600
        (self.work / "ceph").mkdir()
        self.start(["bash", str(FIXTURES / "ceph.sh"), str(self.work / "ceph"), str(port)])
        self.far_s3 = self.relay(port)
        self.near_s3 = port
        self.env.update(AWS_ACCESS_KEY_ID="sheafkey", AWS_SECRET_ACCESS_KEY="sheafsecret0", AWS_REGION="us-east-1")
        self.sh(
            f"s3cmd --config=/dev/null --no-ssl --host=127.0.0.1:{port} --host-bucket=127.0.0.1:{port}"
            " --access_key=sheafkey --secret_key=sheafsecret0 mb s3://bench")

    # Measuring.

    def timed(self, command):
        """Seconds, and MiB of the largest process below it."""
        start = time.monotonic()
        process = subprocess.Popen(["sh", "-c", command], env=self.env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        errors = process.stderr.read()
        _, status, usage = os.wait4(process.pid, 0)
        if status != 0:
            raise SystemExit(f"{command}\n{errors.decode()}")
        return time.monotonic() - start, usage.ru_maxrss / 1024


class Kind:
    """Where stores lie: an address for sheaf, one for restic, and how all is taken away."""

    def __init__(self, place, name, sheaf, restic, options, wipe):
        self.place, self.name, self.wipe = place, name, wipe
        self.store = f"{place.sheaf} {{}} -s {sheaf}"
        has_peer = shutil.which("restic") and not place.args.no_peers
        self.restic = f"{options} restic -q -r {restic} {{}}" if has_peer else None


def rows(place, kind, tree, days, large, rounds):
    """(what, seconds of sheaf, seconds of restic, MiB of sheaf) of each."""
    sheaf, restic = kind.store, kind.restic
    result = []

    def alternate(what, ours, theirs, before=None):
        best = [None, None, 0]
        for _ in range(rounds):
            for index, command in enumerate((ours, theirs)):
                if command is None:
                    continue
                if before:
                    before(index)
                seconds, memory = place.timed(command)
                best[index] = min(best[index] or seconds, seconds)
                if index == 0:
                    best[2] = max(best[2], memory)
        result.append((what, *best))
        print(f"{kind.name}: {what}: {best}", file=sys.stderr)

    def begin(index):
        place.sh(kind.wipe)
        place.sh(sheaf.format("init -q") if index == 0 else restic.format("init"))

    theirs = restic.format if restic else lambda _: None
    alternate("full backup of the Linux tree", sheaf.format("backup -q") + f" {tree}", theirs(f"backup {tree}"), begin)

    # Points of a small tree, made near by and copied there with other tools, would be no test: they are made there.
    place.sh(kind.wipe)
    place.sh(sheaf.format("init -q"))
    if restic:
        place.sh(restic.format("init"))
    place.sh(f"rm -rf {days}; mkdir {days}; for i in $(seq 1000); do echo $i >{days}/f$i; done; cp {large} {days}/large")
    save = sheaf.format("backup -q --skip-unchanged --series host") + f" {days}"
    count = place.args.sets
    for day in range(count):
        (Path(days) / "f1").write_text(f"{day}\n")
        place.sh(save)
        if restic and day < 3:
            place.sh(restic.format(f"backup {days}"))
    alternate(f"nothing changed, {count} sets", save, theirs(f"backup {days}"))
    inside = f"{days}/f500"
    alternate("one file of 4 bytes", sheaf.format("cat --series host") + f" {inside}", theirs(f"dump latest {inside}"))
    return result


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sheaf", default=".build/release/sheaf")
    parser.add_argument("--work", default="/dev/shm/sheaf-remote", help="a folder that is emptied")
    parser.add_argument("--disk", default="/var/tmp/sheaf-remote", help="the same on a disk: where the SSH server keeps stores")
    parser.add_argument("--tree", help="the tree to save (default: the Linux sources)")
    parser.add_argument("--delay", type=int, default=30, help="milliseconds, one way")
    parser.add_argument("--sets", type=int, default=60, help="how long the chain is (default: 60)")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--no-peers", action="store_true", help="without restic, which takes minutes far away")
    parser.add_argument("--only", default="", help="near, far, s3, s3-far: only kinds with this in their names")
    args = parser.parse_args()
    place = Place(args)
    try:
        measure(place, args)
    finally:
        place.end()


def measure(place, args):
    tree = args.tree or linux(place)
    large = place.work / "large"
    with open(large, "wb") as file:
        for _ in range(64):
            file.write(os.urandom(1 << 20))
    place.start_ssh()
    ssh, disk = place.work / "ssh", place.disk
    wipe = f"rm -rf {disk}/sheaf {disk}/restic"
    kinds = []
    for name in ("near", "far"):
        kinds.append(Kind(
            place, f"ssh {name}", f"sftp://{name}{disk}/sheaf", f"sftp:{name}:{disk}/restic", "",
            wipe))
    for kind in kinds:
        if kind.restic:
            host = kind.name.split()[1]
            kind.restic = kind.restic.replace("restic -q", f"restic -q -o sftp.command='{ssh} {host} -s sftp'")
    if "s3" in args.only or not args.only:
        place.start_s3()
        s3cmd = (
            f"s3cmd --config=/dev/null --no-ssl --host=127.0.0.1:{place.near_s3} --host-bucket=127.0.0.1:{place.near_s3}"
            " --access_key=sheafkey --secret_key=sheafsecret0")
        for name, port in (("s3", place.near_s3), ("s3-far", place.far_s3)):
            kind = Kind(
                place, name, f"s3://bench/{name}", f"s3:http://127.0.0.1:{port}/bench/{name}-restic", "",
                f"{s3cmd} -q del --recursive --force s3://bench/ >/dev/null")
            kind.store = f"AWS_ENDPOINT_URL_S3=http://127.0.0.1:{port} {kind.store}"
            kinds.append(kind)
    lines = []
    directory = Kind(place, "directory", f"{disk}/sheaf", "", "", wipe)
    for kind in kinds:
        if args.only and not kind.name.endswith(args.only):
            continue
        if kind.name.startswith("ssh"):
            connect = min(place.timed(f"{ssh} {kind.name.split()[1]} true")[0] for _ in range(3))
            lines.append((kind.name, "a connection alone", connect, None, None, ""))
        beside = None
        if not kind.name.startswith("s3"):
            times = []
            for _ in range(args.rounds):
                place.sh(wipe)
                place.sh(directory.store.format("init -q"))
                times.append(place.timed(directory.store.format("backup -q") + f" {tree}")[0])
            beside = min(times)
            stored = [str(path) for path in (disk / "sheaf").glob("*/*.tar.gz")]
            host = kind.name.split()[1]
            copy = f"scp -q -S {ssh} {' '.join(stored)} {host}:{disk}/copied"
            scp = min(place.timed(copy)[0] for _ in range(args.rounds))
        for what, ours, theirs, memory in rows(place, kind, tree, f"{place.work}/days", large, args.rounds):
            said = ""
            if what.startswith("full") and beside:
                said = f"{ours / beside:.2f} × a directory ({beside:.2f} s), {ours / scp:.2f} × scp ({scp:.2f} s)"
            lines.append((kind.name, what, ours, theirs, memory, said))
    print("| where | what | sheaf | restic | peak MiB | beside |\n|---|---|--:|--:|--:|---|")
    for where, what, ours, theirs, memory, said in lines:
        print(
            f"| {where} | {what} | {ours:.2f} s | {'' if theirs is None else f'{theirs:.2f} s'} |"
            f" {'' if memory is None else f'{memory:.0f}'} | {said} |")


def linux(place):
    archive = f"/usr/src/{bench.LINUX_PACKAGE}.tar.xz"
    if not os.path.exists(archive):
        subprocess.run(["apt-get", "install", "-qq", "-y", bench.LINUX_PACKAGE], check=True, stdout=subprocess.DEVNULL)
    place.sh(f"tar -C {place.work} -xf {archive}")
    return f"{place.work}/{bench.LINUX_PACKAGE}"


if __name__ == "__main__":
    main()
