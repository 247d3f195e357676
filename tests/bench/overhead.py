"""What the pipeline itself costs, beside the git, npm, node and docker it calls.

Runs it with shims on PATH that note when each of these tools ran. What is left of the
whole time, less what the shims themselves cost, is the pipeline's own. Of tools that
ran side by side the time counts once.

    with-services python -m tests.bench.overhead [RUNS]
"""

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.bench.builds import DOCKERFILES, Project, run

TOOLS = ("git", "npm", "node", "docker")
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


def main() -> None:
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 9
    with tempfile.TemporaryDirectory(prefix="bench.") as folder:
        shims, log = Path(folder, "shims"), Path(folder, "log")
        shims.mkdir()
        for name in TOOLS:
            tool = os.environ.get("DOCKER") if name == "docker" else None
            shim(shims, name, tool or shutil.which(name) or name, log)
        shim(shims, "nothing", "/bin/true", log)
        began = time.monotonic()
        for _ in range(50):
            subprocess.run([shims / "nothing"], check=True)
        each = (time.monotonic() - began - spent(calls(log))) / 50

        project = Project(Path(folder), "overhead", DOCKERFILES["layered"])
        project.pipeline(project.change())
        os.environ |= {"PATH": f"{shims}:{os.environ['PATH']}", "DOCKER": "docker"}
        own = []
        for _ in range(runs):
            commit = project.change()
            log.unlink()
            run("true")
            took = project.pipeline(commit)["all"]
            tools = calls(log)
            own.append(took - spent(tools) - each * len(tools))
        print(
            f"the pipeline's own overhead | {statistics.median(own):.2f} s "
            f"({min(own):.2f} to {max(own):.2f}), {len(tools)} times a tool"
        )


if __name__ == "__main__":
    main()
