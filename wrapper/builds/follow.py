"""Shows a build's console.log, and follows it to its end."""

import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from wrapper.builds import overview
from wrapper.builds.directory import Build
from wrapper.builds.lock import held
from wrapper.builds.requests import NO_POLLER, poller_runs
from wrapper.screen import Output, say

CHUNK = 1 << 16  # bytes
LOOKS = 0.1  # seconds between two looks for more
CANCELLED = 130

Write = Callable[[bytes], object]


def copy(log: Path, begin: int, end: int | None, write: Write) -> int:
    """What stands between two offsets (None: the end of the file); where it ended."""
    at = begin
    try:
        with log.open("rb") as file:
            file.seek(begin)
            while end is None or at < end:
                most = CHUNK if end is None else min(CHUNK, end - at)
                if not (chunk := file.read(most)):
                    break
                write(chunk)
                at += len(chunk)
    except FileNotFoundError:
        pass
    return at


def show(build: Build) -> int:
    """Follows a build on this command's own terminal; the exit code it is to have."""
    output = Output()
    try:
        return follow(build, output.write, say)
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    finally:
        output.close()


def follow(build: Build, write: Write, say: Callable[[str], object]) -> int:
    """Shows all of the log, and what comes, until the build has ended; its exit code.

    69: it waits, and no poller runs that would start it.
    """
    log, at, waiting = build.path / "console.log", 0, False
    while True:
        state = build.state()  # before the log: nothing is written after the end
        size = _size(log)
        if size < at:  # it has started over
            say("the build starts over")
            at = 0
        at = copy(log, at, None, write)
        result = build.result()
        if result is not None and not held(build.path / "lock"):
            copy(log, at, None, write)
            return exit_code(result, say)
        if state in ("queued", "interrupted"):
            if not poller_runs(build.path.parents[2]):
                say(f"{build.name} waits, and no poller runs")
                return NO_POLLER
            if not waiting:
                say(f"{build.name} {_why_it_waits(build)}")
            waiting = True
        if state == "staged" and not waiting:
            say(f"{build.name} was staged by hand: this goes on until Ctrl-C")
            waiting = True
        time.sleep(LOOKS)


def _why_it_waits(build: Build) -> str:
    """In words: the host's trouble, a pause, or that others come first."""
    builds = build.path.parents[2]
    if troubles := overview.host_troubles(builds):
        return f"waits, as nothing starts: {troubles[0]}"
    if paused := overview.poller(builds, build.repository)["paused"]:
        return f"waits, as it is paused ({overview.resume(paused[0])})"
    return "waits for its turn"


def exit_code(result: dict[str, Any], say: Callable[[str], object]) -> int:
    """The pipeline's own; 0 also for skipped and superseded, and it says by what."""
    status = result.get("status")
    if status in ("success", "skipped", "superseded"):
        if status != "success":
            say(f"{status}: {result.get('message') or ''}")
        return 0
    if status == "cancelled":
        return CANCELLED
    code = result.get("exit_code")
    return code if isinstance(code, int) and 0 < code < 256 else 1


def _size(log: Path) -> int:
    try:
        return log.stat().st_size
    except OSError:
        return 0
