"""docker-build-server withdraw: `latest` and its kin leave a version."""

from pathlib import Path

from wrapper.builds.requests import ask


def run(builds: Path, repository: str, version: str, undo: bool) -> int:
    """0, 1: refused, 2: not configured, 69: no poller runs, 75: the registry."""
    about = {"repository": repository, "version": version, "undo": undo or None}
    return ask(builds, "withdraw", about).show()
