"""Reads a log that grows, from a place in it.

A place is OFFSET.CRC32 of the up to 256 bytes before it: so a log that grew is told
from one that was begun anew.
"""

import codecs
import json
import os
import re
from enum import Enum
from pathlib import Path
from typing import Any, NamedTuple
from zlib import crc32

from wrapper.builds.directory import Build
from wrapper.builds.lock import held
from wrapper.web.progress import steps

CHUNK = 1 << 15  # bytes of one event
BEFORE = 256  # bytes that tell a place


class Place(Enum):
    """Where a follower begins, if that is no offset."""

    END = "nothing will come any more"


class Start(NamedTuple):
    offset: int
    resumed: bool  # the client has what is before


def place(build: Build, known: str, tail: int | None) -> Start | Place:
    """known: the last event's id, or ""; tail: bytes wanted before, None: all."""
    over = ended(build)
    try:
        file = os.open(build.path / "console.log", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return Start(0, False)
    try:
        size = os.fstat(file).st_size
        if known:
            offset = _valid(file, known, size)
            if offset is None:
                return Start(0, False)
            return Place.END if over and offset == size else Start(offset, True)
        return Start(
            0 if tail is None else _character(file, max(0, size - tail)), False
        )
    finally:
        os.close(file)


def _valid(file: int, known: str, size: int) -> int | None:
    """The offset of an id, if this still is the log that it was of."""
    found = re.fullmatch(r"(\d{1,15})\.([0-9a-f]{8})", known)
    if not found or int(found[1]) > size:
        return None
    return int(found[1]) if _id(file, int(found[1])) == known else None


def _id(file: int, offset: int) -> str:
    begin = max(0, offset - BEFORE)
    return f"{offset}.{crc32(os.pread(file, offset - begin, begin)):08x}"


def _character(file: int, offset: int) -> int:
    """The next offset at which a character begins."""
    for byte in os.pread(file, 4, offset) if offset else b"":
        if byte & 0xC0 != 0x80:
            break
        offset += 1
    return offset


def ended(build: Build) -> bool:
    """Will nothing be written to its log any more, unless somebody begins anew?

    The lock is free only when the last line is in the file.
    """
    path = str(build.path)  # asked ten times a second by each follower
    return os.path.exists(f"{path}/result.json") and not held(Path(path, "lock"))


class Reader:
    """What is new in a log since the last look, as events."""

    def __init__(self, build: Build, start: Start) -> None:
        self._build = build
        self._file = -1
        self._offset = start.offset
        self._began = start.resumed
        self._check = ""  # the id of where we are
        self._told = start.offset  # steps that began before are known
        self._mark = -1  # bytes of `steps` when it was read last
        self.gone = False  # it was pruned

    def close(self) -> None:
        if self._file >= 0:
            os.close(self._file)

    def events(self, over: bool) -> list[bytes]:
        """over: nothing will be written any more, so half a character is one."""
        if self._file < 0:
            try:
                path = self._build.path / "console.log"
                self._file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            except OSError:
                self.gone = not self._build.path.exists()
                return []
            self._check = _id(self._file, self._offset)
        found: list[bytes] = []
        about = os.fstat(self._file)
        self.gone = about.st_nlink == 0
        if about.st_size == self._offset and self._began:
            return found
        before = min(BEFORE, self._offset)
        data = os.pread(self._file, before + CHUNK, self._offset - before)
        anew = about.st_size < self._offset or self._id_of(data[:before]) != self._check
        if anew:
            self._offset = self._told = 0
            self._mark = -1
            self._check, before = "0.00000000", 0
            data = os.pread(self._file, CHUNK, 0)
        if anew or not self._began:
            self._began = True
            where = {"offset": self._offset, "size": about.st_size}
            found.append(event("start", where))
        return found + self._text(data, before, over)

    def _text(self, data: bytes, before: int, over: bool) -> list[bytes]:
        fresh = data[before:]
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        last = over and len(fresh) < CHUNK
        text = decoder.decode(fresh, final=last)
        whole = len(fresh) if last else len(fresh) - len(decoder.getstate()[0])
        if not whole:
            return []
        self._offset += whole
        self._check = self._id_of(data[: before + whole][-BEFORE:])
        words = json.dumps(text, ensure_ascii=False)
        found = [f"id: {self._check}\ndata: {words}\n\n".encode()]
        return found + self._steps()

    def _steps(self) -> list[bytes]:
        """Those that have begun in what was sent since the last look."""
        mark = _size(f"{self._build.path}/steps")
        if mark == self._mark:
            return []
        self._mark = mark
        found = []
        for step in steps(self._build.path):
            if self._told <= step.offset < self._offset:
                where = {"name": step.name, "offset": step.offset}
                found.append(event("step", where))
                self._told = step.offset + 1
            elif step.offset >= self._offset:
                self._mark = -1  # its first byte is still to come
        return found

    def _id_of(self, before: bytes) -> str:
        return f"{self._offset}.{crc32(before):08x}"


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except OSError:
        return -1


def event(name: str, data: Any) -> bytes:
    return f"event: {name}\ndata: {json.dumps(data)}\n\n".encode()
