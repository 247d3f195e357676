"""Lock files: who works on a build, or polls for a builds directory."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

PROBE = 0.1  # seconds; whoever asks held() has the lock for a moment, too


class Locked(Exception):
    """Somebody else holds the lock; as text: their process ID."""


class Holder(NamedTuple):
    """Who holds a lock, as its file has it: HOST PID TOKEN."""

    host: str  # "": an older version wrote the process ID alone
    pid: str  # digits; "": nobody has signed
    token: str  # 16 hexadecimal digits, of this holding alone


def holder(text: str) -> Holder:
    """What a lock file holds; whatever else stands there is nobody."""
    words = text.split()
    if len(words) == 1:
        words = ["", *words, ""]
    if len(words) != 3 or not (words[1].isascii() and words[1].isdigit()):
        return Holder("", "", "")
    return Holder(*words)


def read_holder(path: Path) -> Holder:
    return holder(path.read_text(errors="replace"))


@contextmanager
def lock(path: Path, sign: bool = True) -> Iterator[None]:
    """Holds a lock file; Locked, with the holder's process ID, otherwise.

    sign: with our name inside, for who wants to end what we do under it.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        end = time.monotonic() + PROBE
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > end:
                    raise Locked(read_holder(path).pid) from None
                time.sleep(PROBE / 10)
        os.ftruncate(descriptor, 0)
        if sign:
            name = f"{os.uname().nodename} {os.getpid()} {os.urandom(8).hex()}\n"
            with suppress(OSError):  # the lock holds on a full disk too
                os.write(descriptor, name.encode())
        yield
    finally:
        release(descriptor)


def release(descriptor: int) -> None:
    """Unlocks and closes. Closing alone leaves it to a child that is being started."""
    fcntl.flock(descriptor, fcntl.LOCK_UN)
    os.close(descriptor)


def held(path: Path) -> bool:
    """Is a lock file locked?"""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        release(descriptor)
    return False
