"""WHAT of the command line: which build one means.

In this order: a full ref, a branch, a tag, a build's ID, a version, 7 or more digits of
a commit, a repository; each its newest build. Two repositories that match: it has to be
said which.
"""

import re
from collections.abc import Callable, Iterator
from pathlib import Path

from wrapper.builds.directory import Build, is_id, read_json
from wrapper.builds.store import Store

_DIGITS = re.compile(r"[0-9a-f]{7,64}")
_HEADS, _TAGS = "refs/heads/", "refs/tags/"
_FORMS = "a ref, a build's ID, a version, 7 or more digits of a commit, or OWNER/NAME"


class Unclear(Exception):
    """It means no build, or more than one; as text: what to say instead."""


def find(builds: Path, *words: str) -> Build:
    """The build that WHAT means, or REPO WHAT; without a word the newest that ran.

    Raises Unclear.
    """
    store = Store(builds)
    if not words:
        newest = next(filter(_ran, store.newest()), None)
        if newest is None:
            advice = "docker-build-server trigger OWNER/NAME"
            raise Unclear(f"no build has run in {builds} ({advice})")
        return newest
    *before, what = words
    if what.startswith(f"{builds.absolute()}/"):  # as trigger prints it
        what = str(Path(what).relative_to(builds.absolute()))
    build = build_at(builds, what)
    if build and before in ([], [build.repository]):
        return build
    folders = store.repositories()
    if before:
        folders = [f for f in folders if before == ["/".join(f.parts[-2:])]]
    found = _search(store, folders, what)
    if not found:
        where = f" of {before[0]}" if before else ""
        raise Unclear(f"{what} means no build{where} in {builds} ({_FORMS})")
    if len(found) > 1:
        names = " and ".join(build.name for build in found[:2])
        example = f"{found[0].repository} {what}"
        raise Unclear(f"{what} means {names}: name the repository too, as: {example}")
    return found[0]


def build_at(builds: Path, name: str) -> Build | None:
    """The build OWNER/NAME/ID, if there is one."""
    parts = name.split("/")
    closed = any(part.startswith(".") or not part for part in parts)
    if len(parts) != 3 or closed or not is_id(parts[2]):
        return None
    build = Build(builds / name)
    return build if (build.path / "build.json").is_file() else None


def _search(store: Store, folders: list[Path], what: str) -> list[Build]:
    """The newest build in each folder, by the first rule that finds any."""
    refs = [what] if what.startswith("refs/") else [_HEADS + what, _TAGS + what]
    for ref in refs:
        if found := list(_latest(folders, ref)):
            return found
    # Of a person's builds the poller takes no note.
    if found := _first(store, folders, lambda build: build.ref in refs):
        return found
    if is_id(what):
        paths = (folder / what for folder in folders)
        return [Build(path) for path in paths if (path / "build.json").is_file()]
    if "." in what and (
        found := _first(store, folders, lambda build: build.version == what)
    ):
        return found
    if _DIGITS.fullmatch(digits := what.lower()):
        return _first(store, folders, lambda build: _begins(build, digits))
    whole = [folder for folder in folders if what == "/".join(folder.parts[-2:])]
    return _first(store, whole, lambda build: True)


def _latest(folders: list[Path], ref: str) -> Iterator[Build]:
    """The newest build of a ref, by what the poller keeps of each repository."""
    for folder in folders:
        try:
            document = read_json(folder / "state.json") or {}
            build = Build(folder / str(document["latest"][ref]["build"]))
        except (OSError, ValueError, KeyError, TypeError):
            continue
        if (build.path / "build.json").is_file():
            yield build


def _first(
    store: Store, folders: list[Path], fits: Callable[[Build], bool]
) -> list[Build]:
    """In each folder the newest build that fits."""
    newest = (
        next(filter(fits, store.newest("/".join(folder.parts[-2:]))), None)
        for folder in folders
    )
    return [build for build in newest if build]


def _begins(build: Build, digits: str) -> bool:
    return build.id.endswith(digits[:7]) and build.commit.startswith(digits)


def _ran(build: Build) -> bool:
    return (build.path / "console.log").exists()
