"""What the pipeline itself costs, beside the git, npm, node and docker it calls.

Runs it with shims on PATH that note when each of these tools ran. What is left of the
whole time, less what the shims themselves cost, is the pipeline's own. Of tools that
ran side by side the time counts once. Two checkouts are run in turn.

    with-services python -m tests.bench.overhead [ROUNDS [OTHER]]
"""

import os
import shutil
import statistics
import subprocess
import tempfile
import time
from functools import partial
from pathlib import Path

from tests.bench.builds import (
    DOCKERFILES,
    Checkout,
    Project,
    arguments,
    measure,
    spread,
)

TOOLS = ("git", "npm", "node", "docker", "skopeo")
SHIM = """#!/bin/bash
if [[ ${{IN_SHIM-}} ]]; then exec {tool} "$@"; fi
export IN_SHIM=1
began=${{EPOCHREALTIME/./}}
{tool} "$@"
code=$?
echo "$began ${{EPOCHREALTIME/./}}" >>{log}
exit "$code"
"""


def shim(folder: Path, name: str, tool: str, log: Path) -> None:
    (folder / name).write_text(SHIM.format(tool=tool, log=log))
    (folder / name).chmod(0o755)


def calls(log: Path) -> list[tuple[float, float]]:
    """The times, in seconds, when a tool ran, whichever; and so how often."""
    merged: list[tuple[float, float]] = []
    for line in sorted(log.read_text().splitlines()):
        began, ended = (int(word) / 1e6 for word in line.split())
        if merged and began <= merged[-1][1]:
            began, ended = merged[-1][0], max(ended, merged.pop()[1])
        merged.append((began, ended))
    return merged


def spent(times: list[tuple[float, float]]) -> float:
    return sum(ended - began for began, ended in times)


def make_shims(folder: Path, log: Path) -> float:
    """Put them on PATH; the seconds that each call of one costs."""
    folder.mkdir()
    for name in TOOLS:
        tool = os.environ.get("DOCKER") if name == "docker" else None
        shim(folder, name, tool or shutil.which(name) or name, log)
    shim(folder, "nothing", "/bin/true", log)
    began = time.monotonic()
    for _ in range(50):
        subprocess.run([folder / "nothing"], check=True)
    took = time.monotonic() - began
    os.environ |= {"PATH": f"{folder}:{os.environ['PATH']}", "DOCKER": "docker"}
    return (took - spent(calls(log))) / 50


def main() -> None:
    rounds, checkouts = arguments()
    with tempfile.TemporaryDirectory(prefix="bench.") as folder:
        log = Path(folder, "log")
        each = make_shims(Path(folder, "shims"), log)
        project = Project(Path(folder), "overhead", DOCKERFILES["layered"])

        def own(checkout: Checkout) -> tuple[float, int]:
            commit = project.change()
            log.write_text("")
            took = checkout.pipeline(project, commit)["all"]
            tools = calls(log)
            return took - spent(tools) - each * len(tools), len(tools)

        ways = {checkout.name: partial(own, checkout) for checkout in checkouts}
        measure(1, ways)
        for name, given in measure(rounds, ways).items():
            times, counts = zip(*given, strict=True)
            print(f"own overhead of {name} | {spread(list(times))} s,", end=" ")
            print(f"{statistics.median(counts):.0f} times a tool")


if __name__ == "__main__":
    main()
