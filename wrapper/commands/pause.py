"""docker-build-server pause: nothing starts, for maintenance."""

from pathlib import Path

from wrapper.builds.requests import ask


def run(builds: Path, repository: str | None) -> int:
    """All, or one repository. 0, 2: not configured, 69: no poller runs."""
    return ask(builds, "pause", {"repository": repository}).show()
