"""So many builds and steps at a time, whoever runs them: a lock file for each place."""

import fcntl
import os
from pathlib import Path

from wrapper.builds.lock import release


def take(builds: Path, most: int) -> int | None:
    """A place's descriptor, which is closed to give it back; None: all are taken."""
    folder = builds / ".places"
    folder.mkdir(exist_ok=True)
    for number in range(most):
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
        place = os.open(folder / str(number), flags, 0o640)
        try:
            fcntl.flock(place, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return place
        except BlockingIOError:
            os.close(place)
    return None


def give_back(place: int) -> None:
    release(place)
