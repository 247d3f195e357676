"""Which lines of console.log say why a step failed.

python -P -m wrapper.builds.failing LOG STEP BEGIN END prints one line of JSON: of what
STEP printed between those byte offsets the lines that a tool has marked as failures
(marks.py), else the last ones that say anything. At most five, each as {"line": its
number in the whole file, from 1, "offset": its first byte, "text": at most 300
characters, none of them for control}; [] where there is none.
Exit code 1 where LOG cannot be read; then it prints [] too.

The log may have any size, and so may each line of it: nothing is read as a whole.
"""

import json
import sys
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

from wrapper.builds.marks import HINT, OF_BUILDKIT, Marks
from wrapper.console import clean

MOST = 5
WIDTH = 300  # characters
HEAD = 8192  # bytes of a line that are looked at
LOOK = 20000  # lines that are passed over, before it is given up
FAR = 8 << 20  # bytes before the end of a step in which marks are looked for
BLOCK = 1 << 20


class Line(NamedTuple):
    line: int
    offset: int
    text: str


def failing(log: BinaryIO, step: str, begin: int, end: int) -> list[Line]:
    """The lines, oldest first, of a file opened for reading bytes."""
    end = min(end, log.seek(0, 2))
    found = _marked(log, begin, end) or _last(log, step, begin, end)
    lines = []
    number, counted = 1, 0
    for offset, text in found:
        number += _newlines(log, counted, offset)
        counted = offset
        lines.append(Line(number, offset, text))
    return lines


def _marked(log: BinaryIO, begin: int, end: int) -> list[tuple[int, str]]:
    """Offset and text of the first lines that a tool has marked."""
    marks = Marks()
    found: dict[int, str] = {}
    for offset, line in _hinted(log, max(begin, end - FAR), end):
        text = _text(line)
        marks.take(text, offset)
        found[offset] = OF_BUILDKIT.sub("", text, count=1)[:WIDTH]
    return [(offset, found[offset]) for offset in marks.best()[:MOST]]


def _hinted(log: BinaryIO, begin: int, end: int) -> Iterator[tuple[int, bytes]]:
    """The lines between two offsets that may be marked, with where each begins."""
    while begin < end and (block := _read(log, begin, min(end, begin + BLOCK))):
        last = block.rfind(b"\n") + 1
        if begin + len(block) < end and last:  # the rest comes with the next
            block = block[:last]
        after = 0
        for hint in HINT.finditer(block):
            if hint.start() < after:  # of a line that was taken
                continue
            start = block.rfind(b"\n", 0, hint.start()) + 1
            after = (block.find(b"\n", hint.start()) + 1) or len(block) + 1
            yield begin + start, block[start : min(after - 1, start + HEAD)]
        begin += len(block)


def _last(log: BinaryIO, step: str, begin: int, end: int) -> list[tuple[int, str]]:
    """Offset and text of the last lines that say anything, oldest first."""
    # The reason in the script's own words is the build's message already.
    complaints = f"{step}.sh: ".encode(), b"pipeline.sh: "
    found: list[tuple[int, str]] = []
    for looked, (offset, stop) in enumerate(_lines_backwards(log, begin, end)):
        head = _read(log, offset, min(stop, offset + HEAD))
        text = _text(head)
        if text and not head.startswith(complaints):
            found.append((offset, text[:WIDTH]))
        if len(found) == MOST or looked == LOOK:
            break
    return found[::-1]


def _text(line: bytes) -> str:
    return clean(line.replace(b"\t", b" ")).decode().replace("\n", " ").rstrip()


def _lines_backwards(log: BinaryIO, begin: int, end: int) -> Iterator[tuple[int, int]]:
    """Where the lines between two offsets begin and end, the last one first.

    Empty lines and white space at an end are passed over in blocks.
    """
    stop = end
    while (stop := _end_of_text(log, begin, stop)) > begin:
        start = _begin_of_line(log, begin, stop)
        yield start, stop
        stop = start


def _end_of_text(log: BinaryIO, begin: int, stop: int) -> int:
    """Where white space at the end of what stands before an offset begins."""
    for start, block in _blocks_backwards(log, begin, stop):
        if text := block.rstrip():
            return start + len(text)
    return begin


def _begin_of_line(log: BinaryIO, begin: int, stop: int) -> int:
    for start, block in _blocks_backwards(log, begin, stop):
        at = block.rfind(b"\n")
        if at >= 0:
            return start + at + 1
    return begin


def _blocks_backwards(
    log: BinaryIO, begin: int, stop: int
) -> Iterator[tuple[int, bytes]]:
    """What stands between two offsets, the last first; small at first, as lines are."""
    size = 1 << 10
    while stop > begin:
        start = max(begin, stop - size)
        yield start, _read(log, start, stop)
        stop, size = start, min(2 * size, BLOCK)


def _newlines(log: BinaryIO, start: int, stop: int) -> int:
    """How many there are between two offsets."""
    count = 0
    while start < stop and (block := _read(log, start, min(stop, start + BLOCK))):
        count += block.count(b"\n")
        start += len(block)
    return count


def _read(log: BinaryIO, start: int, stop: int) -> bytes:
    log.seek(start)
    return log.read(stop - start)


def main(argv: list[str]) -> int:
    try:
        path, step, begin, end = argv[0], argv[1], int(argv[2]), int(argv[3])
    except (IndexError, ValueError):
        usage = "python -m wrapper.builds.failing LOG STEP BEGIN END"
        print(f"usage: {usage}", file=sys.stderr)
        return 2
    try:
        with open(path, "rb", buffering=0) as log:
            lines = failing(log, step, max(0, begin), end)
    except OSError as e:
        print(f"{path}: {e.strerror}", file=sys.stderr)
        print("[]")
        return 1
    print(json.dumps([line._asdict() for line in lines]))
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
