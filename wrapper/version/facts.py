"""What git says of a commit, as version.sh gathers it: five parts, each ended by a NUL.

log        of the commit and all its ancestors, children first, each ended by a NUL:
           SHA PARENT..., the committer's date, the message, on lines of their own
tags       COMMIT refs/tags/NAME, a line for each that leads to one; or an empty line
touching   the commits that touch what an entry with a tag prefix is made of; of other
           entries none, as all do
line       the commits of the default branch's own line that brought a package.json,
           or changed it, newest first
packages   git cat-file --batch: package.json of the commit, then of each in `line`

Then "end": what git could not read is not taken for what there is not.
"""

import json
import re
from collections.abc import Container, Iterator, Sequence
from typing import NamedTuple

from wrapper.version.rules import Commit

END = b"\0end"
UNREADABLE = (
    object()
)  # a package.json that is no JSON: there, for whatever npm makes of it


class Facts(NamedTuple):
    ref: str
    history: list[Commit]  # the commit, then its ancestors, children before parents
    tags: dict[str, str]  # name -> commit; every tag there is
    package: object  # the commit's package.json; None if absent, or UNREADABLE
    line: Sequence[tuple[str, object]]  # commit of the default branch, its package.json
    touching: Container[str] = ()  # where not all of history counts, the ones that do


def read(ref: str, gathered: bytes) -> Facts:
    """The facts, of a commit that is built as this ref. EOFError: some are lost."""
    if not gathered.endswith(END):
        raise EOFError("git does not tell all of it")
    log_end = gathered.index(b"\0\0")
    rest = gathered[log_end + 2 : -len(END)]
    shown, touching, line, batch = rest.split(b"\0", 3)
    history = []
    # One by one: a single emoji makes Python take four bytes for each letter beside it.
    for record in re.finditer(rb"[^\0]+", memoryview(gathered)[:log_end]):
        ids, date, message = record[0].decode(errors="replace").split("\n", 2)
        sha, *parents = ids.split()
        history.append(Commit(sha, parents, date, message))
    tags = {}
    for each in filter(None, shown.decode(errors="replace").split("\n")):
        sha, tag = each.split(" ", 1)
        tags[tag.removeprefix("refs/tags/")] = sha
    package, *others = _packages(batch)
    releases = list(zip(line.decode().split(), others, strict=True))
    return Facts(
        ref, history, tags, package, releases, frozenset(touching.decode().split())
    )


def _packages(batch: bytes) -> Iterator[object]:
    """What git cat-file --batch printed, object by object; None for what is no file.

    EOFError: one is missing that is not the first; the trees of those have it.
    """
    at = 0
    while at < len(batch):
        begin = at
        header, at = batch[at : (end := batch.index(b"\n", at))].split(b" "), end + 1
        if header[-1] == b"missing":
            if begin:
                raise EOFError(b" ".join(header).decode(errors="replace"))
            yield None
            continue
        size = int(header[-1])  # of the target, for a symlink that leads elsewhere
        try:
            yield json.loads(batch[at : at + size])
        except (ValueError, RecursionError):
            yield UNREADABLE if b"blob" in header else None
        at += size + 1
