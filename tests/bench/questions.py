"""What a day's questions cost, where 2,000 builds lie: seconds of each command.

python -m tests.bench.questions [ROUNDS]
"""

import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.support.world import weeks

BUILDS, GOAL = 2000, 0.5
QUESTIONS = (
    ["status"],
    ["status", "o/r1"],
    ["log", "o/r1"],
    ["log", "--failed", "o/r1"],
    ["why", "o/r1"],
    ["why", "o/r2", "main"],
    ["images", "o/r1"],
    ["images"],
    ["health"],
)


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 9
    with tempfile.TemporaryDirectory(prefix="bench.") as folder:
        weeks(Path(folder, "builds"), BUILDS)
        names: dict[str, object] = {f"o/r{number}": {} for number in range(20)}
        config = {"registry": "127.0.0.1:1", "builds": "builds", "repositories": names}
        Path(folder, "config.json").write_text(json.dumps(config))
        took: dict[str, list[float]] = {}
        for _ in range(rounds):
            for question in QUESTIONS:
                command = [sys.executable, "-m", "wrapper", question[0], "--config"]
                command += [f"{folder}/config.json", *question[1:]]
                began = time.monotonic()
                subprocess.run(command, capture_output=True)
                seconds = time.monotonic() - began
                took.setdefault(" ".join(question), []).append(seconds)
    print(f"{BUILDS} builds, medians of {rounds}; goal: {GOAL} s each")
    for name, times in took.items():
        print(f"{name:20} {statistics.median(times):5.2f} s")


if __name__ == "__main__":
    main()
