"""What a build costs: the pipeline beside the commands a person would type.

Prints medians of alternating pairs, each on a commit of its own (a one-line change),
so that neither side finds what the other has just cached. The plain commands are
clone, npm ci, docker build with BuildKit, docker run, and four times tag and push.

    with-services python -m tests.bench.builds [PAIRS]
"""

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from wrapper import SCRIPTS
from wrapper.config.load import resolve

DOCKER = os.environ.get("DOCKER", "docker")
BASE, REGISTRY = os.environ["BASE_IMAGE"], os.environ["REGISTRY"]
DOCKERFILES = {
    "copies everything": f"FROM {BASE}\nWORKDIR /app\nCOPY . .\n",
    "layered": f"FROM {BASE}\nWORKDIR /app\nCOPY node_modules node_modules\n"
    "COPY package*.json ./\nCOPY test test\nCOPY app.js ./\n",
}
PACKAGE = {
    "name": "bench",
    "version": "1.0.0",
    "scripts": {"test": "mocha --exit"},
    "dependencies": {"express": "4.21.2"},
    "devDependencies": {"mocha": "10.8.2", "supertest": "7.0.0"},
}
TEST = """const request = require('supertest'); const app = require('../app')
it('answers', () => request(app).get('/').expect(200))
"""
STEPS = ("clone", "npm-install", "version", "build", "unit-test", "tag-push")
Times = dict[str, float]


def run(*command: object, cwd: Path | None = None, **environment: str) -> str:
    """Run a command quietly; its standard output. Raises CalledProcessError."""
    return subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env=os.environ | {"DOCKER_BUILDKIT": "1"} | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        check=True,
        text=True,
    ).stdout


class Project:
    """A small Express application, its remote, and a builds directory."""

    def __init__(self, work: Path, name: str, dockerfile: str) -> None:
        self.work, self.name, self.tree = work, name, work / name
        self.image = f"bench/{name}-{os.getpid()}"
        self.builds, self.count = work / f"{name}.builds", 0
        self.remote = work / f"{name}.git"
        self.settings: dict[str, object] = {}
        (self.tree / "test").mkdir(parents=True)
        (self.tree / "package.json").write_text(json.dumps(PACKAGE))
        (self.tree / "test/app.js").write_text(TEST)
        (self.tree / "Dockerfile").write_text(dockerfile)
        (self.tree / ".dockerignore").write_text(".git\n")
        (self.tree / ".gitignore").write_text("node_modules\n")
        run("npm", "install", "--package-lock-only", cwd=self.tree)
        run("git", "init", "-q", "--bare", "-b", "main", self.remote)
        run("git", "init", "-q", "-b", "main", cwd=self.tree)
        self.change()

    def change(self) -> str:
        """Push a one-line change, to what no run had before; its commit."""
        self.count += 1
        (self.tree / "app.js").write_text(
            "const app = module.exports = require('express')()\n"
            f"app.get('/', (_, answer) => answer.send('{self.tree} {self.count}'))\n"
        )
        run("git", "add", "-A", cwd=self.tree)
        author = ("-c", "user.name=Bench", "-c", "user.email=bench@example.com")
        run("git", *author, "commit", "-qm", f"fix: {self.count}", cwd=self.tree)
        run("git", "push", "-q", self.remote, "main", cwd=self.tree)
        return run("git", "rev-parse", "HEAD", cwd=self.tree).strip()

    def stage(self, commit: str) -> Path:
        """A new build directory, made with resolved settings as a poller does."""
        entry = f"bench/{self.name}"
        config = {
            "registry": REGISTRY,
            "builds": str(self.builds),
            "repositories": {entry: {"url": self.remote.as_uri(), "image": self.image}},
            "defaults": self.settings,
        }
        loaded = resolve(json.dumps(config).encode(), str(self.work / "config.json"))
        settings = loaded.repositories[entry]
        resolved = json.dumps({"builds": str(self.builds), "settings": settings})
        command = f"{SCRIPTS}/stage.sh", entry, "refs/heads/main", commit
        return Path(run(*command, SETTINGS=resolved).strip())

    def pipeline(self, commit: str) -> Times:
        """Stage and build a commit; seconds by step, "all" among them."""
        began = time.monotonic()
        build = self.stage(commit)
        run(f"{SCRIPTS}/pipeline.sh", build)
        took = time.monotonic() - began
        result = json.loads((build / "result.json").read_text())
        return {s["name"]: s["seconds"] for s in result["steps"]} | {"all": took}

    def plain(self, commit: str) -> Times:
        """Build a commit with the plain commands; seconds by step."""
        times: Times = {}
        tree = self.work / f"{self.name}.plain"
        image = f"{REGISTRY}/{self.image}"
        tags = [f"{image}:{tag}" for tag in (f"1.0.{self.count}", "1.0", "1", "latest")]

        @contextmanager
        def timed(step: str) -> Iterator[None]:
            began = time.monotonic()
            yield
            times[step] = time.monotonic() - began

        with timed("all"):
            with timed("clone"):
                run("git", "clone", "-q", self.remote.as_uri(), tree)
                run("git", "checkout", "-q", commit, cwd=tree)
            with timed("npm-install"):
                run("npm", "ci", cwd=tree)
            with timed("version"):
                run("git", "describe", "--tags", "--always", cwd=tree)
            with timed("build"):
                run(DOCKER, "build", "-t", tags[0], tree)
            with timed("unit-test"):
                run(DOCKER, "run", "--rm", tags[0], "npm", "test")
            with timed("tag-push"):
                for tag in tags:
                    run(DOCKER, "tag", tags[0], tag)
                    run(DOCKER, "push", tag)
            shutil.rmtree(tree)
        return times


def pairs(count: int, plain: Callable[[], Times], ours: Callable[[], Times]) -> str:
    """Measure both in turn, who goes first alternating; one row of the table."""
    rows: list[tuple[Times, Times]] = []
    for turn in range(count):
        if turn % 2:
            mine = ours()
            rows.append((plain(), mine))
        else:
            theirs = plain()
            rows.append((theirs, ours()))
    ratios = [mine["all"] / theirs["all"] for theirs, mine in rows]
    cells = [
        f"{statistics.median(r[0].get(step, 0) for r in rows):.2f} / "
        f"{statistics.median(r[1].get(step, 0) for r in rows):.2f}"
        for step in (*STEPS, "all")
    ]
    cells.append(
        f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
    )
    return " | ".join(cells)


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 9
    with tempfile.TemporaryDirectory(prefix="bench.") as folder:
        work = Path(folder)
        print("seconds, plain / ours |", " | ".join(STEPS), "| all | ours of plain")
        for kind, dockerfile in DOCKERFILES.items():
            project = Project(work, kind.split()[0], dockerfile)
            # A first build pushes the base image and fills every cache, for both.
            project.plain(project.change())
            project.pipeline(project.change())
            row = pairs(
                count,
                lambda p=project: p.plain(p.change()),  # type: ignore[misc]
                lambda p=project: p.pipeline(p.change()),  # type: ignore[misc]
            )
            print(f"one line changed, {kind} | {row}", flush=True)
        commit = project.change()
        project.plain(commit)
        project.pipeline(commit)
        row = pairs(
            count, lambda: project.plain(commit), lambda: project.pipeline(commit)
        )
        print(f"the same commit again, layered | {row}", flush=True)

        for repositories in (1, 2, 4):
            projects = [
                Project(work, f"many{repositories}{i}", DOCKERFILES["layered"])
                for i in range(repositories)
            ]
            for each in projects:
                each.pipeline(each.change())
            times = []
            for _ in range(max(count // 3, 1)):
                commits = [each.change() for each in projects]
                began = time.monotonic()
                with ThreadPoolExecutor() as pool:
                    list(pool.map(Project.pipeline, projects, commits))
                times.append(time.monotonic() - began)
            print(
                f"{repositories} repositories at once, layered | "
                f"{statistics.median(times):.2f} s in all, "
                f"{statistics.median(times) / repositories:.2f} s each",
                flush=True,
            )

        def first(turn: list[int], kind: str) -> Times:
            turn[0] += 1
            shutil.rmtree(work / "npm", ignore_errors=True)
            os.environ["NPM_CONFIG_CACHE"] = str(work / "npm")
            text = DOCKERFILES["copies everything"].replace(
                "WORKDIR", f"ENV FIRST={kind}{turn[0]}\nWORKDIR"
            )
            new = Project(work, f"first{kind}{turn[0]}", text)
            commit = new.change()
            shutil.rmtree(work / "npm", ignore_errors=True)
            return new.plain(commit) if kind == "plain" else new.pipeline(commit)

        turns = [0]
        row = pairs(
            max(count // 3, 1),
            lambda: first(turns, "plain"),
            lambda: first(turns, "ours"),
        )
        print(f"first build ever | {row}", flush=True)


if __name__ == "__main__":
    main()
