"""docker-build-server trigger: has the running poller build something."""

from pathlib import Path

from wrapper.builds.requests import ask


def run(builds: Path, repository: str, what: str | None) -> int:
    """Prints the build. 0, 1: refused, 2: not configured, 69: no poller runs."""
    return ask(builds, "trigger", {"repository": repository, "ref": what}).show()
