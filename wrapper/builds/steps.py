"""How far a build is: what pipeline.sh and steps called by themselves leave of it."""

from pathlib import Path
from typing import NamedTuple

from wrapper.builds.directory import Newer, read_json


class Step(NamedTuple):
    """A step that has begun, as the file `steps` has it."""

    name: str
    began: str  # RFC 3339
    offset: int  # where what it prints begins in console.log
    status: str | None = None  # success, failure, error, cancelled; None: not ended
    seconds: float | None = None
    attempts: int | None = None
    end: int | None = None  # where in console.log it ends


def read_steps(build: Path) -> list[Step]:
    """In the order they ran, those of earlier runs too."""
    try:
        text = (build / "steps").read_text(errors="replace")
    except OSError:
        return []
    found: list[Step] = []
    for line in text.split("\n"):
        try:
            if line.startswith("begin\t"):
                _, name, began, offset = line.split("\t")
                found.append(Step(name, began, int(offset)))
            elif line.startswith("end\t") and found:
                _, name, _, status, took, attempts, end = line.split("\t")
                if found[-1].name == name and found[-1].status is None:
                    found[-1] = found[-1]._replace(
                        status=status,
                        seconds=float(took),
                        attempts=int(attempts),
                        end=int(end),
                    )
        except ValueError:  # cut off by a full disk, say
            continue
    return found


def last_by_hand(build: Path) -> str | None:
    """The step that a person called last by itself."""
    newest, name = "", None
    for file in (build / "runs").glob("*.json"):
        try:
            at = str((read_json(file) or {}).get("started_at", ""))
        except (OSError, Newer):
            continue
        if at >= newest:
            newest, name = at, file.stem
    return name
