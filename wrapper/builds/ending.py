"""Ends a build that waits or runs, whoever runs it."""

import os
import signal
import time
from contextlib import suppress
from pathlib import Path

from wrapper.builds.directory import Build
from wrapper.builds.lock import read_holder
from wrapper.builds.requests import Answer

PATIENCE = 30.0  # seconds for the pipeline to clean up


def cancel(build: Build) -> Answer:
    """Code 0: it is cancelled; 1: it had ended, or does not end."""
    path = build.path
    end = time.monotonic() + PATIENCE
    if build.newer:
        return Answer(1, f"{path} was written by a newer version")
    while build.result() is None and time.monotonic() < end:
        if build.close("cancelled", "before it ran, or went on"):
            break
        if build.at_work:
            if refusal := _ask_to_end(path):
                return Answer(1, f"{path}: {refusal}")
            while build.result() is None and build.at_work and time.monotonic() < end:
                time.sleep(0.05)
    result = build.result()
    status = result["status"] if result else "still running"
    return Answer(int(status != "cancelled"), f"{path}: {status}", build.name)


def _ask_to_end(path: Path) -> str:
    """Leaves the wish with the build, and a TERM to who holds its lock; why not, or "".

    No signal reaches another host: there the wish has to be found.
    """
    wish = path / "cancelled"
    try:
        holder = read_holder(path / "lock")
        wish.touch()
        if holder.pid and holder.host in ("", os.uname().nodename):
            os.kill(int(holder.pid), signal.SIGTERM)
    except (ProcessLookupError, OverflowError, FileNotFoundError):
        pass  # it has just ended
    except PermissionError:
        with suppress(OSError):
            wish.unlink(missing_ok=True)
        return f"process {holder.pid} is somebody else's"
    return ""
