#!/usr/bin/env python3
"""Makes a chain of COUNT hourly sets, without running a backup for each.

    hourly.py STORE COUNT

STORE has one full set, of empty files alone. It is moved into the past, and
incremental sets in which nothing changed are written behind it, an hour apart,
as sheaf-format(5) has them.
"""

import gzip
import hashlib
import re
import struct
import sys
import zlib
from datetime import datetime, timedelta
from pathlib import Path

NO_HEADER = 0xFFFFFFFF


def member(data, first=NO_HEADER, subfield=b""):
    packer = zlib.compressobj(1, zlib.DEFLATED, -15)
    deflated = packer.compress(data) + packer.flush()
    length = 12 + 16 + len(subfield) + len(deflated) + 8
    head = b"\x1f\x8b\x08\x04\0\0\0\0\0\xff" + struct.pack("<H", 16 + len(subfield))
    head += b"Sh" + struct.pack("<HQI", 12, length, first) + subfield
    return head + deflated + struct.pack("<II", zlib.crc32(data), len(data))


def subfield(name, data):
    return name + struct.pack("<H", len(data)) + data


def manifest(head, lines, foot, first_path):
    """Head, lines and foot, each in a member, and the index."""
    out = member(head)
    index = b""
    if lines:
        index = struct.pack("<QH", len(out), len(first_path)) + first_path
        out += member(lines)
    foot_at = len(out)
    out += member(foot + b"# end: %s\n" % hashlib.sha256(head + lines + foot).hexdigest().encode())
    index_at = len(out)
    if index:
        out += member(b"", subfield=subfield(b"Si", index))
    return out + member(b"", subfield=subfield(b"St", struct.pack("<QQ", index_at, foot_at)))


def first_member(head):
    """The set's head in a global header."""
    text = b"comment=sheaf set\n" + head.removeprefix(b"#mtree\n").removesuffix(b". type=dir\n") + b"\n"
    size = next(n for n in range(len(text) + 1, len(text) + 12) if len(b"%d " % n) + len(text) == n)
    record = b"%d " % size + text
    block = bytearray(512)
    for at, value in ((0, b"pax_global_header"), (100, b"0000644\0" + b"0000000\0" * 2), (124, b"%011o\0" % len(record)),
                      (136, b"00000000000\0" + b" " * 8 + b"g"), (257, b"ustar\00000")):
        block[at : at + len(value)] = value
    block[148:156] = b"%06o\0 " % sum(block)
    return member(bytes(block) + record + b"\0" * (-len(record) % 512), 0)


def members_line(members):
    """Their lengths, and the checksums they end with."""
    return b"# members: 0 0" + b"".join(b" %d:%08x" % (len(m), struct.unpack("<I", m[-8:-4])[0]) for m in members) + b"\n"


def main():
    store, count = Path(sys.argv[1]), int(sys.argv[2])
    (old,) = store.glob("*/*-full.mtree.gz")
    series = old.parent
    text = gzip.decompress(old.read_bytes())
    end_of_head = text.index(b". type=dir\n") + len(b". type=dir\n")
    foot_at = text.index(b"# members: ")
    head, lines = text[:end_of_head], text[end_of_head:foot_at]
    foot = text[text.index(b"# layers: ") : text.index(b"# end: ")]
    point = re.search(rb"# point: (\w+)", foot)[1]
    first_path = next(line for line in lines.split(b"\n") if line.startswith(b"./")).split()[0][2:]
    others = []
    archive = old.with_name(old.name.replace("mtree", "tar"))
    data = archive.read_bytes()
    while data:
        length = struct.unpack("<Q", data[16:24])[0]
        others.append(data[:length])
        data = data[length:]
    others = others[1:]
    start = datetime.now() - timedelta(hours=count + 48)

    def write(number, lines):
        time = start + timedelta(hours=number)
        name = time.strftime("%Y-%m-%dT%H%M%SZ")
        own = re.sub(rb"# time: .*", b"# time: " + name.encode(), head)
        own = re.sub(rb"# started: .*", b"# started: %d.000000000" % time.timestamp(), own)
        tail = foot
        if number:
            before = (time - timedelta(hours=1)).strftime("%Y-%m-%dT%H%M%SZ")
            own = re.sub(rb"# id: .*", b"# id: %016x" % number, own)
            own = own.replace(b"# kind: full", b"# kind: incremental")
            own = re.sub(rb"(# started: .*)", rb"\1\n# parent: " + before.encode() + b" " + point, own)
            tail = re.sub(rb"(# counts: \d+ \d+ \d+) .*", rb"\1 0 0 0 0", tail)
        name += "-incr" if number else "-full"
        members = [first_member(own)] + ([member(b"\0" * 1024, 0)] if number else others)
        volume = b"".join(members)
        size = sum(struct.unpack("<I", m[-4:])[0] for m in members)
        tail = re.sub(rb"# tar: .*", b"# tar: %d %d" % (size, len(members)), tail)
        told = f"# volume: {name}.tar.gz {len(volume)} {hashlib.sha256(volume).hexdigest()}".encode()
        tail = re.sub(rb"# volume: .*", told, tail)
        (series / f"{name}.tar.gz").write_bytes(volume)
        (series / f"{name}.mtree.gz").write_bytes(manifest(own, lines, members_line(members) + tail, first_path))

    for number in range(count):
        write(number, b"" if number else lines)
    old.unlink()
    archive.unlink()


main()
