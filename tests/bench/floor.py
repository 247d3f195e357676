"""What a build cannot do without: how long each of the tools takes for its least.

Prints medians of rounds, in milliseconds. README.md beside this says what follows.

    with-services python -m tests.bench.floor [ROUNDS]
"""

import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.bench.builds import BASE, DOCKER, REGISTRY, ROOT, run


def commands(work: Path) -> dict[str, Sequence[object]]:
    """What is measured, by what it shows."""
    context, origin = work / "context", work / "origin"
    context.mkdir()
    (context / "Dockerfile").write_text(f"FROM {BASE}\nCOPY . /app\n")
    run("git", "init", "-q", "-b", "main", origin)
    author = ("-c", "user.name=Bench", "-c", "user.email=bench@example.com")
    run("git", *author, "commit", "-q", "--allow-empty", "-m", "one", cwd=origin)
    image = f"{REGISTRY}/bench/floor-{os.getpid()}:1"
    run(DOCKER, "build", "-t", image, context)
    run(DOCKER, "push", image)
    inspect = ["skopeo", "inspect", "--raw", "--tls-verify=false", f"docker://{image}"]
    copy = ["skopeo", "--insecure-policy", "copy", "--src-tls-verify=false"]
    copy += ["--dest-tls-verify=false", f"docker://{image}", f"docker://{image}0"]
    test = 'mkdir /x && cd /x && echo \'{"scripts": {"test": "true"}}\' >package.json'
    docker_run = [DOCKER, "run", "--rm", "--init", "--network", "none", BASE]
    python = ROOT / ".venv/bin/python"
    return {
        "bash starts": ["bash", "-c", ":"],
        "a script of ours starts (-h)": [ROOT / "scripts/build.sh", "-h"],
        "python starts, with semver": [python, "-P", "-c", "import semver"],
        "jq starts": ["jq", "-n", "1"],
        "the docker client asks the engine": [DOCKER, "version"],
        "docker build --help (is there BuildKit?)": [DOCKER, "build", "--help"],
        "docker build, nothing has changed": [DOCKER, "build", "-q", context],
        "docker run of nothing": [*docker_run, "true"],
        "docker run of npm test of nothing": [
            *(*docker_run, "sh", "-c", f"{test} && npm test"),
        ],
        "docker tag": [DOCKER, "tag", image, image],
        "docker push, nothing has changed": [DOCKER, "push", image],
        "skopeo asks for a tag": inspect,
        "skopeo sets a tag": copy,
        "git clone of one commit": [
            *("git", "clone", "-q", origin.as_uri(), work / "clone"),
        ],
    }


def median(call: Callable[[], object], rounds: int) -> float:
    times = []
    for _ in range(rounds):
        began = time.monotonic()
        call()
        times.append(time.monotonic() - began)
    return statistics.median(times)


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 9
    with tempfile.TemporaryDirectory(prefix="bench.") as folder:
        work = Path(folder)
        print(f"milliseconds, medians of {rounds}")
        for name, command in commands(work).items():

            def call(command: Sequence[object] = command) -> None:
                run(*command)
                run("rm", "-rf", work / "clone")

            removing = median(lambda: run("rm", "-rf", work / "clone"), rounds)
            took = max(median(call, rounds) - removing, 0.0)
            print(f"{name:45} {1000 * took:6.0f}")


if __name__ == "__main__":
    main()
