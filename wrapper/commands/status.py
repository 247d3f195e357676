"""What is in the builds directory, as a table."""

import time
from pathlib import Path

from wrapper.builds import verdict
from wrapper.builds.directory import Build, builds_in, folders
from wrapper.console import line


def run(builds: Path) -> int:
    """Prints all builds, the oldest of each repository first. Returns 0"""
    rows = [_row(b) for folder in folders(builds) for b in builds_in(folder)]
    rows.insert(0, ("REPOSITORY", "BUILD", "REF", "VERSION", "STATUS", "SECONDS"))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (f"{t:{w}}" for t, w in zip(row, widths, strict=True))
        print("  ".join(cells).rstrip())
    return 0


def _row(build: Build) -> tuple[str, ...]:
    result = build.result()
    state = verdict.brief(result) if result is not None else build.state()
    try:
        version = (build.path / "version").read_text().strip()
    except OSError:
        version = "-"
    seconds = verdict.seconds(result or {})
    if state == "running":  # it signed the lock when it began
        seconds = time.time() - (build.path / "lock").stat().st_mtime
    ref = build.ref.removeprefix("refs/heads/").removeprefix("refs/")
    took = "-" if seconds is None else f"{seconds:.0f}"
    row = (build.repository, build.id, ref, version, state, took)
    return tuple(line(text) for text in row)
