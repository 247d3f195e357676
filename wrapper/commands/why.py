"""docker-build-server why: the story of a commit, branch, tag or build."""

import json
import os
import sys
from pathlib import Path
from typing import Any

from wrapper import console
from wrapper.builds import journal


def run(builds: Path, name: str) -> int:
    """Prints what the journal has of a commit (4 or more digits of it), branch, tag or
    build. 0, or 1 where it knows nothing.
    """
    try:
        lines = (builds / "journal.jsonl").open()
    except FileNotFoundError:
        lines = open(os.devnull)  # noqa: SIM115
    found = False
    with lines:
        for text in lines:
            try:
                line = json.loads(text)
                if _concerns(line, name):
                    found = True
                    story = f"{line['time']} {line['repository']}: "
                    print(console.line(story + journal.words(line)))
            except (ValueError, TypeError, KeyError):
                continue  # a line cut off by a full disk
    if not found:
        print(
            f"The journal does not know {name} (a commit's first 4 or more digits, a "
            "branch, a tag or a build's ID; what is built by hand is not in it)",
            file=sys.stderr,
        )
    return 0 if found else 1


def _concerns(line: dict[str, Any], name: str) -> bool:
    commit, ref = line["commit"] or "", line["ref"] or ""
    return (
        name in (ref, line["build"])
        or ref in (f"refs/heads/{name}", f"refs/tags/{name}")
        or (len(name) >= 4 and commit.startswith(name.lower()))
    )
