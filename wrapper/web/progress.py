"""How far a build is: its file `steps`, which pipeline.sh writes as it goes."""

import json
from pathlib import Path
from typing import Any, NamedTuple


class Step(NamedTuple):
    name: str
    status: str  # running, success, failure, error or cancelled
    started_at: str
    seconds: float | None
    attempts: int | None
    offset: int  # its first byte in console.log
    end: int | None  # the first byte behind it


def steps(build: Path) -> list[Step]:
    """Those that have begun, in order; a step of an earlier run is not among them."""
    found: list[Step] = []
    try:
        lines = (build / "steps").read_text(errors="replace").splitlines()
    except OSError:
        return []
    for line in lines:
        try:
            if step := _parse(line.split("\t"), found):
                found.append(step)
        except (ValueError, IndexError):
            continue  # cut off by a full disk
    return found


def _parse(words: list[str], found: list[Step]) -> Step | None:
    if words[0] == "begin":
        _, name, at, offset = words
        # Going on from a step, the pipeline does that one again, and later ones.
        names = [step.name for step in found]
        if name in names:
            del found[names.index(name) :]
        return Step(name, "running", at, None, None, int(offset), None)
    _, name, _, status, seconds, attempts, end = words
    if found and found[-1].name == name:
        begun = found.pop()
        return begun._replace(
            status=status,
            seconds=round(float(seconds), 3),
            attempts=int(attempts),
            end=int(end),
        )
    return None


def runs(build: Path) -> dict[str, dict[str, Any]]:
    """runs/STEP.json, by step: the last run of each that was called by itself."""
    found = {}
    for path in sorted((build / "runs").glob("[!.]*.json")):
        try:
            found[path.stem] = dict(json.loads(path.read_bytes()))
        except (OSError, ValueError, TypeError):
            continue
    return found
