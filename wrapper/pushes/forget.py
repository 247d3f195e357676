"""What is left of a repository that is gone: builds, images here, caches, state."""

import shutil
from contextlib import suppress
from itertools import product
from pathlib import Path

from wrapper.builds import journal
from wrapper.builds.directory import builds_in
from wrapper.builds.process import Failed, call
from wrapper.builds.requests import TEMPORARY, Answer, Refused

CACHES = "git", "install", "node_modules", "contexts"  # in builds/.cache


def forget(builds: Path, repository: str, by: str) -> Answer:
    """Removes it. Raises Refused: a build runs, or the engine does not answer."""
    folder = builds / repository
    known = builds_in(folder)
    for build in known:
        if build.at_work:
            words = "is being worked on (docker-build-server cancel)"
            raise Refused(1, f"{build.name} {words}")
    # Entries may share a repository and its caches, which can be thrown away.
    names = {repository, *(build.setting("repository") or "" for build in known[-1:])}
    names.discard("")
    for build in known:  # prune.sh knows such a name: it removes its images, then it
        build.path.rename(folder / f".pruned.{build.id}")
    try:
        call("prune.sh", str(builds), limit=3600)
    except Failed as e:
        raise Refused(TEMPORARY, f"{e} (then: docker-build-server forget)") from None
    if any(folder.glob(".pruned.*")):  # another prune is at work, say
        words = "not all of its builds are removed yet (try again)"
        raise Refused(TEMPORARY, f"{repository}: {words}")
    for cache, name in product(CACHES, names):
        for ending in "", ".lock", ".git", ".git.lock":
            _remove(builds / ".cache" / cache / f"{name}{ending}")
    _remove(folder)
    with suppress(OSError):  # its owner may have others
        folder.parent.rmdir()
    journal.tell(builds, repository, "forget", f"asked for by {by}")
    words = f"{len(known)} builds, their images here, its caches and state"
    return Answer(0, f"{repository} is forgotten: {words} are removed")


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
