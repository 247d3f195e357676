"""docker-build-server status: what is in the builds directory, as a table."""

import sys
import time
from itertools import islice
from pathlib import Path

from wrapper.builds import verdict
from wrapper.builds.directory import Build
from wrapper.builds.store import Store
from wrapper.console import line

HEAD = "REPOSITORY", "BUILD", "REF", "VERSION", "STATUS", "SECONDS"


def run(
    builds: Path, repository: str | None = None, number: int = 30, all: bool = False
) -> int:
    """Prints builds, those that run first, then the newest; 1: there is no such
    repository. number: rows at most, unless all are wanted.
    """
    store = Store(builds)
    running = store.running(repository)
    total = store.count(repository)
    if repository and not total:
        print(f"{repository} has no builds in {builds}", file=sys.stderr)
        return 1
    known = {build.path for build in running}
    others = (b for b in store.newest(repository) if b.path not in known)
    most = total if all else number
    shown = list(islice((*running, *islice(others, most)), most))
    rows = [HEAD, *map(_row, shown)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (f"{t:{w}}" for t, w in zip(row, widths, strict=True))
        print("  ".join(cells).rstrip())
    for folder, reason in store.closed.items():
        print(line(f"{folder}: {reason}"))
    if older := total - len(shown):
        print(f"{older} older build{'s' * (older > 1)} (-n N, or --all)")
    return int(str(builds) in store.closed)


def _row(build: Build) -> tuple[str, ...]:
    try:
        row = _cells(build)
    except OSError as e:  # somebody else's
        row = (build.repository, build.id, "-", "-", e.strerror or str(e), "-")
    return tuple(line(text) for text in row)


def _cells(build: Build) -> tuple[str, ...]:
    result = build.result()
    state = verdict.brief(result) if result is not None else build.state()
    try:
        version = (build.path / "version").read_text(errors="replace").strip()
    except OSError:
        version = "-"
    seconds = verdict.seconds(result or {})
    if state == "running":  # it signed the lock when it began
        seconds = time.time() - (build.path / "lock").stat().st_mtime
    ref = build.ref.removeprefix("refs/heads/").removeprefix("refs/")
    took = "-" if seconds is None else f"{seconds:.0f}"
    return build.repository, build.id, ref, version, state, took
