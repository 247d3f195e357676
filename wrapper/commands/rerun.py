"""docker-build-server rerun: has the running poller run a build once more."""

import sys
from pathlib import Path

from wrapper.builds.directory import Build
from wrapper.builds.follow import show
from wrapper.builds.requests import ask
from wrapper.builds.what import Unclear, find


def run(builds: Path, what: list[str], step: str | None, wait: bool = False) -> int:
    """Prints the build. 0, 1: refused, 2: no such build, 69: no poller, or it runs."""
    try:
        build = find(builds, *what)
    except Unclear as e:
        print(e, file=sys.stderr)
        return 2
    answer = ask(builds, "rerun", {"build": build.name, "from": step})
    code = answer.show()
    if code or not wait or not answer.build:
        return code
    return show(Build(builds / answer.build))
