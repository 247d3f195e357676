"""Ends a build, from any process."""

import glob
import os
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path

from wrapper.builds.directory import Build
from wrapper.builds.lock import held, read_holder

PATIENCE = 30.0  # seconds for the pipeline to clean up


def run(builds: Path, build: str) -> int:
    """build: its directory, or ID. 0: cancelled, 1: it had ended, 2: no build."""
    path = Path(build)
    if not (path / "build.json").is_file():
        path = next(builds.glob(f"*/*/{glob.escape(path.name)}"), path)
    if not (path / "build.json").is_file():
        print(f"{build} is no build (docker-build-server status)", file=sys.stderr)
        return 2
    one = Build(path.resolve())
    end = time.monotonic() + PATIENCE
    if one.newer:
        print(f"{path} was written by a newer version", file=sys.stderr)
        return 1
    while one.result() is None and time.monotonic() < end:
        if one.close("cancelled", "before it ran, or went on"):
            break
        if held(path / "lock"):
            if refusal := _ask_to_end(path):
                print(f"{path}: {refusal}", file=sys.stderr)
                return 1
            while held(path / "lock") and time.monotonic() < end:
                time.sleep(0.05)
    (builds / ".wake").touch()
    result = one.result()
    print(f"{path}: {result['status'] if result else 'still running'}")
    return 0 if result and result["status"] == "cancelled" else 1


def _ask_to_end(path: Path) -> str:
    """Leaves the wish with the build, and a TERM to who holds its lock; why not, or "".

    No signal reaches another host: there the wish has to be found.
    """
    holder = read_holder(path / "lock")
    wish = path / "cancelled"
    try:
        wish.touch()
        if holder.pid and holder.host in ("", os.uname().nodename):
            os.kill(int(holder.pid), signal.SIGTERM)
    except (ProcessLookupError, OverflowError):
        pass  # it has just ended
    except PermissionError:
        with suppress(OSError):
            wish.unlink(missing_ok=True)
        return f"process {holder.pid} is somebody else's"
    return ""
