"""docker-build-server trigger: puts a ref into the poller's queue."""

import sys

from wrapper.builds import journal
from wrapper.builds.lock import held
from wrapper.builds.process import Failed
from wrapper.config.load import Config
from wrapper.pushes.stager import stage


def run(config: Config, repository: str, ref: str | None) -> int:
    """Stages a ref, else the default branch. 0, 1: refused, 2: not configured."""
    settings = config.repositories.get(repository)
    if settings is None:
        hint = 'add it under "repositories"'
        print(f"{repository} is not configured ({hint})", file=sys.stderr)
        return 2
    try:
        build = stage(repository, settings, config.builds, ref or "", SOURCE="trigger")
    except Failed as e:
        print(e, file=sys.stderr)
        return 1
    why = "asked for by trigger"
    journal.tell(config.builds, repository, "staged", why, build=build)
    print(build.path)
    if not held(config.builds / ".lock"):
        print("no poller runs: it waits for one (make poll)", file=sys.stderr)
    return 0
