"""What the way to the console costs: 100 MB of test output, against a plain file.

Prints the time of a build's unit tests with their output in a file, by pipeline.sh,
and by pipeline.sh under the poller; medians of turns, and the ratios to the first.

    with-services python -m tests.bench.console [TURNS]
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.bench.builds import DOCKERFILES, ROOT, Checkout, Project, run

MEGABYTES = 100
UNDER_POLLER = """
import sys; from pathlib import Path
from wrapper.builds.directory import Build; from wrapper.builds.process import Pipeline
sys.exit(Pipeline(Build(Path(sys.argv[1]))).run())
"""


def seconds(output: Path, *command: object, **environment: str) -> float:
    began = time.monotonic()
    with output.open("wb") as file:
        subprocess.run(
            [str(word) for word in command],
            env=os.environ | environment,
            stdout=file,
            stderr=file,
            check=True,
        )
    took = time.monotonic() - began
    assert output.stat().st_size > MEGABYTES * 1_000_000
    return took


def main() -> None:
    scripts = ROOT / "scripts"
    turns = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    with tempfile.TemporaryDirectory(prefix="bench.") as folder:
        output = Path(folder, "output")
        line = "a line of output that a test might well print"
        flood = f"yes '{line}' | head -c {MEGABYTES}000000"
        test = {"command": ["sh", "-c", flood]}
        dockerfile = DOCKERFILES["copies everything"]
        project = Project(Path(folder), "console", dockerfile, test=test)
        build = Checkout("this", ROOT).stage(project, project.change())
        for step in ("clone", "npm-install", "version", "build", "unit-test"):
            run(f"{scripts}/{step}.sh", build)
        ways: dict[str, list[float]] = {"a file": [], "pipeline.sh": [], "poller": []}
        for _ in range(turns):
            ways["a file"].append(seconds(output, f"{scripts}/unit-test.sh", build))
            for way, command in (
                ("pipeline.sh", [f"{scripts}/pipeline.sh", build]),
                ("poller", [sys.executable, "-c", UNDER_POLLER, build]),
            ):
                seconds(output, *command, FROM="unit-test")
                steps = json.loads((build / "result.json").read_text())["steps"]
                ways[way].append(steps[0]["seconds"])
        base = statistics.median(ways["a file"])
        for way, times in ways.items():
            took = statistics.median(times)
            print(f"{MEGABYTES} MB to {way} | {took:.2f} s | {took / base:.2f}")


if __name__ == "__main__":
    main()
