"""Checks that no room of SheafCore names what is declared in a room above it.

The rooms and their order are those of the map in CONTRIBUTING.md, from the bottom up. What lies in no room is below them
all. A word counts as another room's where a type or function of that name is declared at the top of one of its files,
and nothing of that name is declared in the file's own room or below it.

    python3 Tests/Lint/rooms.py     prints what points upwards, a line each, and ends with 1 where something does
"""

import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
CORE = ROOT / "Sources" / "SheafCore"

MODIFIERS = r"(?:(?:public|package|internal|final|indirect|@\w+(?:\([^)]*\))?)\s+)*"
KINDS = r"(?:struct|class|enum|protocol|actor|func|typealias)"
AT_TOP = re.compile(rf"^{MODIFIERS}{KINDS}\s+(\w+)", re.M)
ANYWHERE = re.compile(rf"\b{KINDS}\s+(\w+)")


def rooms():
    """The names of the rooms in the order of the map."""
    found = []
    for line in (ROOT / "CONTRIBUTING.md").read_text().splitlines():
        if line.startswith("| `SheafCore/"):
            found += re.findall(r"`(?:SheafCore/)?(\w+)`", line.split("|")[1])
    return found


def code(text):
    """Swift without comments and without the texts between quotes."""
    text = re.sub(r'"""(.*?)"""', '""', text, flags=re.S)
    text = re.sub(r'"(?:\\.|[^"\\\n])*"', '""', text)
    return re.sub(r"//[^\n]*", "", text)


def main():
    order = {room: place for place, room in enumerate(rooms(), start=1)}
    files = []
    lowest = {}
    wrong = []
    for path in sorted(CORE.rglob("*.swift")):
        parts = path.relative_to(CORE).parts
        if len(parts) > 1 and parts[0] not in order:
            wrong.append(f"{parts[0]}: this room is not in the map of CONTRIBUTING.md")
            continue
        place = order[parts[0]] if len(parts) > 1 else 0
        text = code(path.read_text())
        files.append((path, place, text))
        for name in AT_TOP.findall(text):
            lowest[name] = min(place, lowest.get(name, place))
    names = {place: room for room, place in order.items()}
    for path, place, text in files:
        own = set(ANYWHERE.findall(text))
        for name in sorted(set(re.findall(r"\b[A-Za-z]\w+", text))):
            if name[0].isupper() and name not in own and lowest.get(name, 0) > place:
                wrong.append(f"{path.relative_to(ROOT)}: names {name}, which is declared above it, in {names[lowest[name]]}")
    for line in dict.fromkeys(wrong):
        print(line)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
