"""docker-build-server cancel: ends a build, from any process."""

import sys
from pathlib import Path

from wrapper.builds.directory import Build
from wrapper.builds.ending import cancel
from wrapper.builds.requests import ask
from wrapper.builds.what import Unclear, find


def run(builds: Path, what: list[str]) -> int:
    """0: cancelled, 1: it had ended, 2: no build, 69: no poller runs."""
    try:
        build = _find(builds, what)
    except Unclear as e:
        print(e, file=sys.stderr)
        return 2
    if build.ours:
        return ask(builds, "cancel", {"build": build.name}).show()
    return cancel(build).show()  # a person's, who may end it


def _find(builds: Path, what: list[str]) -> Build:
    """By its directory too, as people do who are in it."""
    path = Path(what[0])
    if len(what) == 1 and (path / "build.json").is_file():
        return Build(path.resolve())
    return find(builds, *what)
