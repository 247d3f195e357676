"""What a command prints, for a person: colour, ages, rows that fit the terminal.

On a terminal alone: elsewhere rows are whole, times RFC 3339, and nothing is coloured.
"""

import os
import shutil
import sys
import time
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime

from wrapper.console import clean, line

COLOURS = {
    "success": "32",
    "failure": "31",
    "error": "35",
    "running": "33",
    "cancelled": "90",
    "superseded": "90",
    "skipped": "90",
}
LEAST = 6  # columns that are left of a cell, however narrow the terminal is
LONGEST = 65536  # bytes of a line that are held back
GAP = 2  # columns between two cells


def is_terminal() -> bool:
    return sys.stdout.isatty()


def coloured(text: str, status: str) -> str:
    """Text in the colour of a build's status, where there are colours."""
    code = COLOURS.get(status)
    plain = not is_terminal() or os.environ.get("NO_COLOR") or not code
    return text if plain else f"\x1b[{code}m{text}\x1b[0m"


def when(text: str | None) -> str:
    """A time in RFC 3339: on a terminal how long ago that was."""
    if text is None:
        return "-"
    if not is_terminal():
        return text
    try:
        seconds = time.time() - datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError):
        return text
    return f"{span(seconds)} ago"


def text(words: str) -> None:
    """Prints a line of any origin: on a terminal folded at words, so that what follows
    its first row is seen to belong to it.
    """
    whole = line(words)
    if is_terminal():
        whole = "\n".join(_folded(whole, shutil.get_terminal_size().columns))
    print(whole)


class Output:
    """Standard output, for bytes as they come: what controls a terminal stays out.

    A line that is cut is held back, so that no character or sequence is.
    """

    def __init__(self) -> None:
        self._rest = b""
        self._colours = is_terminal() and not os.environ.get("NO_COLOR")

    def write(self, text: bytes) -> None:
        lines, end, rest = (self._rest + text).rpartition(b"\n")
        if len(rest) > LONGEST:
            lines, end, rest = lines + end + rest, b"", b""
        self._rest = rest
        self._show(lines + end)

    def close(self) -> None:
        self._show(self._rest)
        self._rest = b""

    def _show(self, text: bytes) -> None:
        sys.stdout.flush()
        sys.stdout.buffer.write(clean(text, self._colours))
        sys.stdout.buffer.flush()


def say(words: str) -> None:
    """A remark, on standard error, behind what was printed."""
    sys.stdout.flush()
    print(line(words), file=sys.stderr)


def span(seconds: float) -> str:
    """77 s, 3 min, 5 h, 12 d"""
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(0.0, seconds):.0f} s"


def table(
    head: Sequence[str], rows: Iterable[Sequence[str]], statuses: Iterable[str]
) -> None:
    """Prints rows under a head; the first cell in the colour of the row's status.

    On a terminal the widest cells are cut until a row fits.
    """
    cells = [[line(text) for text in row] for row in (head, *rows)]
    widths = [max(map(width, column)) for column in zip(*cells, strict=True)]
    if is_terminal():
        widths = _fitted(widths, shutil.get_terminal_size().columns)
    for row, status in zip(cells, ("", *statuses), strict=True):
        shown = [_cell(text, size) for text, size in zip(row, widths, strict=True)]
        first, *rest = shown
        print((" " * GAP).join((coloured(first, status), *rest)).rstrip())


def _folded(text: str, columns: int) -> Iterator[str]:
    """Rows of so many columns at most, the second and later ones indented."""
    words, indent = text.lstrip(" "), " " * 4
    row = " " * (len(text) - len(words))
    for word in words.split(" "):
        joined = f"{row} {word}" if row.strip() else row + word
        if width(joined) <= columns:
            row = joined
            continue
        if row.strip():
            yield row
            row = indent
        for character in word:  # which may be longer than a row
            if width(row + character) > columns:
                yield row
                row = indent
            row += character
    yield row


def _fitted(widths: list[int], columns: int) -> list[int]:
    room = columns - GAP * (len(widths) - 1)
    found = list(widths)
    while sum(found) > room and max(found) > LEAST:
        found[found.index(max(found))] -= 1
    return found


def _cell(text: str, size: int) -> str:
    """Text in so many columns, cut with an ellipsis where it is wider."""
    if width(text) > size:
        while text and width(text) > size - 1:
            text = text[:-1]
        text += "…"
    return text + " " * (size - width(text))


def width(text: str) -> int:
    """Columns of a terminal that it takes."""
    if text.isascii():
        return len(text)
    return sum(map(_width, text))


def _width(character: str) -> int:
    if unicodedata.combining(character) or unicodedata.category(character) in (
        "Cf",
        "Mn",
    ):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1
