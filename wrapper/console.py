"""The poller's own terminal: what it says, and the builds' output as it comes."""

import contextlib
import os
import re
import threading
import time

CHUNK = 1 << 16  # bytes read at once, and the longest line held back

_ESCAPE = re.compile(rb"\x1b(\[[0-?]*[ -/]*[@-~])?")
_CONTROL = bytes(c for c in (*range(32), 127) if c not in b"\t\n")
_ALL_BUT_ESC = _CONTROL.replace(b"\x1b", b"")
# In UTF-8: C1, and what changes the direction of text; and how each of them begins.
_HIDDEN = re.compile(
    rb"\xc2[\x80-\x9f]|\xd8\x9c|\xe2\x80[\x8e\x8f\xaa-\xae]|\xe2\x81[\xa6-\xa9]"
)
_BEGIN = b"\xc2", b"\xd8\x9c", b"\xe2\x80", b"\xe2\x81"
_lock = threading.Lock()
_shows: bool | None = None


def clean(text: bytes, colours: bool = False) -> bytes:
    """Without what could move the cursor, recolour or reorder; lines stay lines.

    colours: those stay.
    """
    if b"\r" in text:
        text = text.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    if b"\x1b" in text:
        text = _ESCAPE.sub(_colour if colours else b"", text)
    text = text.translate(None, _ALL_BUT_ESC if colours else _CONTROL)
    if text.isascii():
        return text
    try:
        text.decode()
    except UnicodeDecodeError:  # such a byte is a control character to some terminals
        text = text.decode(errors="replace").encode()
    return _HIDDEN.sub(b"", text) if any(b in text for b in _BEGIN) else text


def _colour(escape: "re.Match[bytes]") -> bytes:
    """An escape sequence that sets a colour, else nothing."""
    return escape[0] if re.fullmatch(rb"\x1b\[[0-9;:]*m", escape[0]) else b""


def line(words: str) -> str:
    """Words of any origin as one line, clean."""
    return clean(words.encode(errors="replace")).decode().replace("\n", " ")


def show_builds(wanted: bool | None) -> None:
    """Is what builds print to be shown? None: on a terminal alone."""
    global _shows
    _shows = wanted


def shows_builds() -> bool:
    return os.isatty(1) if _shows is None else _shows


def say(repository: str, words: str) -> None:
    """One line of the poller's own: time, repository, words."""
    stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    _write(f"{stamp} {repository}: {line(words)}\n".encode())


def relay(source: int, repository: str) -> None:
    """Copies a pipe to the terminal, the repository before each line; closes it.

    The build never waits for a terminal that is gone. A line without an end is held
    back up to CHUNK bytes, so memory is bounded.
    """
    prefix = repository.encode() + b": "
    rest = b""
    with open(source, "rb", buffering=0) as pipe:
        while chunk := pipe.read(CHUNK):
            lines, end, rest = (rest + chunk).rpartition(b"\n")
            if len(rest) > CHUNK:
                lines, rest = lines + end + rest, b""
            if lines or end:
                _write(_prefixed(prefix, lines))
    if rest:
        _write(_prefixed(prefix, rest))


def _prefixed(prefix: bytes, lines: bytes) -> bytes:
    return prefix + clean(lines).replace(b"\n", b"\n" + prefix) + b"\n"


def _write(data: bytes) -> None:
    with _lock, contextlib.suppress(OSError):
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(1, rest) :]
