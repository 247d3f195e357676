"""docker-build-server forget: removes what is left of a repository."""

import sys
from pathlib import Path

from wrapper.builds.requests import ask
from wrapper.builds.store import Store


def run(builds: Path, repository: str, yes: bool) -> int:
    """Asks first. 0, 1: refused, or not meant, 69: no poller runs, 75: try again."""
    if not yes:
        count = Store(builds).count(repository)
        words = f"Remove {count} builds of {repository}, their images here, its caches"
        print(f"{words} and state? [y/N] ", end="", file=sys.stderr, flush=True)
        if sys.stdin.readline().strip().lower() not in ("y", "yes"):
            print("nothing was removed", file=sys.stderr)
            return 1
    return ask(builds, "forget", {"repository": repository}).show()
