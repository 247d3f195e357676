"""docker-build-server trigger: has the running poller build something."""

from pathlib import Path

from wrapper.builds.directory import Build
from wrapper.builds.follow import show
from wrapper.builds.requests import ask


def run(
    builds: Path,
    repository: str,
    what: str | None,
    wait: bool = False,
    version: str | None = None,
) -> int:
    """Prints the build. 0, 1: refused, 2: not configured, 69: no poller runs.

    version: what it is to be, where package.json has that.
    """
    given = {"repository": repository, "ref": what, "version": version}
    answer = ask(builds, "trigger", given)
    code = answer.show()
    if code or not wait or not answer.build:
        return code
    return show(Build(builds / answer.build))
