"""What git says of a commit, as version.sh has left it in a folder.

log        of the commit and all its ancestors, children first, each ended by a NUL:
           SHA PARENT..., the committer's date, the message, on lines of their own
tags       git show-ref --tags --dereference
line       the commits of the default branch's own line that changed package.json,
           newest first
packages   git cat-file --batch: package.json of the commit, then of each in `line`
"""

import json
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from wrapper.release import Commit


class Facts(NamedTuple):
    ref: str
    history: list[Commit]  # the commit, then its ancestors, children before parents
    tags: dict[str, str]  # name -> commit; every tag there is
    package: object  # the commit's package.json; None if absent or not to be read
    line: Sequence[tuple[str, object]]  # commit of the default branch, its package.json


def read(build: dict[str, Any], folder: str) -> Facts:
    """The facts as version.sh has left them."""
    history = []
    for record in content(f"{folder}/log").decode(errors="replace").split("\0")[:-1]:
        ids, date, message = record.split("\n", 2)
        sha, *parents = ids.split()
        history.append(Commit(sha, parents, date, message))
    tags = {}
    for line in content(f"{folder}/tags").decode(errors="replace").split("\n")[:-1]:
        sha, ref = line.split(" ", 1)  # an annotated tag's commit follows, as name^{}
        tags[ref.removeprefix("refs/tags/").removesuffix("^{}")] = sha
    packages = list(_packages(content(f"{folder}/packages")))
    line_commits = content(f"{folder}/line").decode().split()
    return Facts(
        build["ref"],
        history,
        tags,
        packages[0],
        list(zip(line_commits, packages[1:], strict=True)),
    )


def content(path: str) -> bytes:
    """Of a file."""
    with open(path, "rb") as file:
        return file.read()


def _packages(batch: bytes) -> Iterator[object]:
    """What git cat-file --batch printed, object by object; None for what is no JSON."""
    at = 0
    while at < len(batch):
        header, at = batch[at : (end := batch.index(b"\n", at))].split(b" "), end + 1
        if header[-1] == b"missing":
            yield None
            continue
        size = int(header[-1])  # of the target, for a symlink that leads elsewhere
        try:
            yield json.loads(batch[at : at + size])
        except (ValueError, RecursionError):
            yield None
        at += size + 1
