"""All builds of a builds directory, the newest first, read only as far as one looks.

There is no index: IDs sort by time over all repositories, so a list is a merge of
directory names.
"""

import os
import time
from collections.abc import Iterator
from heapq import merge
from itertools import repeat
from pathlib import Path
from typing import NamedTuple

from wrapper.builds.directory import Build, is_id, read_json

SETTLED = 2.0  # seconds after which a change of a folder surely shows in its mtime
FEW = 50  # builds of a repository that no poller knows
ENDED = 5  # builds in a row that have ended: what is older does not run


class _Listing(NamedTuple):
    mtime: float  # epoch seconds, of the folder
    listed_at: float  # epoch seconds
    ids: list[str]  # the newest first


class Store:
    """May be kept: what has not changed since is not listed again."""

    def __init__(self, builds: Path) -> None:
        self.closed: dict[str, str] = {}  # folders that cannot be read, and why
        self._builds = builds
        self._listings: dict[str, _Listing] = {}

    def newest(self, repository: str | None = None) -> Iterator[Build]:
        """All builds, or those of a repository, the newest first."""
        # Pairs are made as far as one looks, not of all builds there are.
        lists = (zip(ids, repeat(f)) for f, ids in self._ids(repository).items())
        for id, folder in merge(*lists, reverse=True):
            yield Build(Path(folder, id))

    def repositories(self) -> list[Path]:
        """Each one's folder, OWNER/NAME."""
        return [Path(folder) for folder in self._folders()]

    def ids(self, repository: str) -> list[str]:
        """Of a repository's builds, the newest first."""
        return self._list(f"{self._builds}/{repository}")

    def count(self, repository: str | None = None) -> int:
        return sum(map(len, self._ids(repository).values()))

    def tips(self, repository: str | None = None) -> Iterator[Build]:
        """Each ref's newest build, the newest first, and of some refs others too.

        state.json knows them, but for those that a person staged: these are looked for
        among the newest.
        """
        lists = []
        for folder, ids in self._ids(repository).items():
            refs = _newest_of_refs(folder)
            some = {*ids[: ENDED if refs else FEW], *refs.intersection(ids)}
            lists.append([(id, folder) for id in sorted(some, reverse=True)])
        for id, folder in merge(*lists, reverse=True):
            yield Build(Path(folder, id))

    def running(self, repository: str | None = None) -> list[Build]:
        """Builds that run now, the newest first.

        A repository's builds start in order, so what runs is above what has ended. And
        a person may have started a ref's newest one again.
        """
        found = []
        for folder, ids in self._ids(repository).items():
            open_ids = _without_result(folder, ids)
            found += [Build(Path(folder, id)) for id in open_ids if _runs(folder, id)]
        return sorted(found, key=lambda build: build.id, reverse=True)

    def _ids(self, repository: str | None) -> dict[str, list[str]]:
        """By folder."""
        folders = self._folders()
        if repository is not None:
            folders = [f for f in folders if f == f"{self._builds}/{repository}"]
        return {folder: self._list(folder) for folder in folders}

    def _folders(self) -> list[str]:
        """Each repository's, OWNER/NAME, whether it is still configured or not."""
        self.closed = {}
        owners = self._inside(str(self._builds))
        owners = [o for o in owners if not os.path.basename(o).startswith(".")]
        return sorted(folder for owner in owners for folder in self._inside(owner))

    def _inside(self, folder: str) -> list[str]:
        try:
            with os.scandir(folder) as entries:
                return [entry.path for entry in entries if entry.is_dir()]
        except FileNotFoundError:
            return []
        except OSError as e:
            self.closed[folder] = e.strerror or str(e)
            return []

    def _list(self, folder: str) -> list[str]:
        try:
            mtime = os.stat(folder).st_mtime
            known = self._listings.get(folder)
            if (
                known is None
                or known.mtime != mtime
                or known.listed_at - mtime < SETTLED
            ):
                now = time.time()
                ids = sorted(filter(is_id, os.listdir(folder)), reverse=True)
                self._listings[folder] = known = _Listing(mtime, now, ids)
        except FileNotFoundError:  # pruned meanwhile
            return []
        except OSError as e:
            self.closed[folder] = e.strerror or str(e)
            return []
        return known.ids


def _without_result(folder: str, ids: list[str]) -> list[str]:
    """Of the newest builds, and the refs' newest, those that have no result yet."""
    found: list[str] = []
    ended = 0
    for number, id in enumerate(ids):
        if not os.path.exists(f"{folder}/{id}/result.json"):
            found.append(id)
        elif (ended := ended + 1) == ENDED:
            older = set(ids[number + 1 :]).intersection(_newest_of_refs(folder))
            return found + [
                id for id in older if not os.path.exists(f"{folder}/{id}/result.json")
            ]
    return found


def _newest_of_refs(folder: str) -> set[str]:
    """Of each ref the newest build, as state.json has it."""
    try:
        latest = (read_json(Path(folder, "state.json")) or {}).get("latest", {})
        return {str(entry["build"]) for entry in latest.values()}
    except (OSError, ValueError, AttributeError, TypeError, KeyError):
        return set()


def _runs(folder: str, id: str) -> bool:
    try:
        return Build(Path(folder, id)).at_work
    except OSError:  # somebody else's; its row says so
        return False
