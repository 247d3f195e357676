"""What the pipeline itself costs, beside the git, npm, node and docker it calls.

Runs it with shims on PATH that note how long each of these tools took. What is left
of the whole time, less what the shims themselves cost, is the pipeline's own.

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
echo "$((${{EPOCHREALTIME/./}} - began))" >>{log}
exit "$code"
"""


def shim(folder: Path, name: str, tool: str, log: Path) -> None:
    (folder / name).write_text(SHIM.format(tool=tool, log=log))
    (folder / name).chmod(0o755)


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
        inside = sum(map(int, log.read_text().split())) / 1e6
        each = (time.monotonic() - began - inside) / 50

        project = Project(Path(folder), "overhead", DOCKERFILES["layered"])
        project.pipeline(project.change())
        os.environ |= {"PATH": f"{shims}:{os.environ['PATH']}", "DOCKER": "docker"}
        own = []
        for _ in range(runs):
            commit = project.change()
            log.unlink()
            run("true")
            took = project.pipeline(commit)["all"]
            calls = [int(line) / 1e6 for line in log.read_text().split()]
            own.append(took - sum(calls) - each * len(calls))
        print(
            f"the pipeline's own overhead | {statistics.median(own):.2f} s "
            f"({min(own):.2f} to {max(own):.2f}), {len(calls)} calls of tools"
        )


if __name__ == "__main__":
    main()
