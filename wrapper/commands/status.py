"""What is in the builds directory, as a table."""

import time
from datetime import datetime
from pathlib import Path

from wrapper.builds.directory import Build, builds_in, folders
from wrapper.console import line


def status(builds: Path) -> int:
    """Prints all builds, the oldest of each repository first. Returns 0"""
    rows = [_row(b) for folder in folders(builds) for b in builds_in(folder)]
    rows.insert(0, ("REPOSITORY", "BUILD", "REF", "VERSION", "STATUS", "SECONDS"))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (f"{t:{w}}" for t, w in zip(row, widths, strict=True))
        print("  ".join(cells).rstrip())
    return 0


def _row(build: Build) -> tuple[str, ...]:
    result = build.result() or {}
    state = build.state()
    step = f" ({result['failed_step']})" if result.get("failed_step") else ""
    try:
        version = (build.path / "version").read_text().strip()
    except OSError:
        version = "-"
    seconds = "-"
    if result.get("started_at"):
        seconds = f"{_time(result['finished_at']) - _time(result['started_at']):.0f}"
    elif state == "running":  # it wrote its pid when it began
        seconds = f"{time.time() - (build.path / 'lock').stat().st_mtime:.0f}"
    ref = build.ref.removeprefix("refs/heads/").removeprefix("refs/")
    row = (build.repository, build.id, ref, version, state + step, seconds)
    return tuple(line(text) for text in row)


def _time(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()
