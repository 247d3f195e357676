"""docker-build-server promote: a name of one's own goes to a version."""

from pathlib import Path

from wrapper.builds.requests import Arguments, ask


def run(builds: Path, repository: str, version: str, names: list[str]) -> int:
    """0, 1: refused, 2: wrong names, 69: no poller runs, 75: the registry."""
    about: Arguments = {"repository": repository, "version": version, "names": names}
    return ask(builds, "promote", about).show()
