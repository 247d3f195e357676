"""How far a build is, as the API tells it, and its steps called by themselves."""

import json
from pathlib import Path
from typing import Any

from wrapper.builds.steps import Step, read_steps


def steps(build: Path) -> list[Step]:
    """Those that have begun, in order; of an earlier run those that count still."""
    found: list[Step] = []
    for step in read_steps(build):
        # Going on from a step, the pipeline does that one again, and later ones.
        names = [known.name for known in found]
        if step.name in names:
            del found[names.index(step.name) :]
        found.append(step)
    return found


def document(step: Step) -> dict[str, Any]:
    about = step._asdict()
    about["started_at"] = about.pop("began")
    return about | {"status": step.status or "running"}


def runs(build: Path) -> dict[str, dict[str, Any]]:
    """runs/STEP.json, by step: the last run of each that was called by itself."""
    found = {}
    for path in sorted((build / "runs").glob("[!.]*.json")):
        try:
            found[path.stem] = dict(json.loads(path.read_bytes()))
        except (OSError, ValueError, TypeError):
            continue
    return found
