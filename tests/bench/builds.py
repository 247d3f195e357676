"""What a build costs: the pipeline beside the commands a person would type.

Prints medians of rounds. In each round every way builds once, in changing order, and
each a commit of its own (a one-line change), so that none finds what another has just
cached. The ways are "plain" (clone, npm ci, docker build with BuildKit, docker run,
and four times tag and push), "this" checkout, and "other", where one is named. Where
the Dockerfile installs by itself its people type no npm ci, so plain does not either.

    with-services python -m tests.bench.builds [ROUNDS [OTHER]]
"""

import itertools
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache, partial
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple, TypeVar

ROOT = Path(__file__).resolve().parent.parent.parent
DOCKER = os.environ.get("DOCKER", "docker")
BASE, REGISTRY = os.environ["BASE_IMAGE"], os.environ["REGISTRY"]
DOCKERFILES = {
    "installs by itself": f"FROM {BASE}\nWORKDIR /app\nCOPY package*.json ./\n"
    "RUN npm ci\nCOPY . .\n",
    "installs after COPY": f"FROM {BASE}\nWORKDIR /app\nCOPY . .\nRUN npm ci\n",
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
T = TypeVar("T")
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
    """A small Express application, and its remote."""

    package: Mapping[str, object] = PACKAGE
    registry = REGISTRY  # as its people reach it
    stage = ""  # the one that they test
    top: Mapping[str, object] = MappingProxyType({})  # of config.json, beside registry

    def __init__(
        self, work: Path, name: str, dockerfile: str, **settings: object
    ) -> None:
        self.work, self.name, self.tree = work, name, work / name
        self.image, self.settings = f"bench/{name}-{os.getpid()}", settings
        self.remote, self.count = work / f"{name}.git", 0
        (self.tree / "test").mkdir(parents=True)
        (self.tree / "package.json").write_text(json.dumps(self.package))
        (self.tree / "test/app.js").write_text(TEST)
        (self.tree / "Dockerfile").write_text(dockerfile)
        (self.tree / ".dockerignore").write_text(".git\n")
        (self.tree / ".gitignore").write_text("node_modules\n")
        self.installs = "RUN npm" in dockerfile
        run("npm", "install", "--package-lock-only", cwd=self.tree)
        run("git", "init", "-q", "--bare", "-b", "main", self.remote)
        run("git", "init", "-q", "-b", "main", cwd=self.tree)
        self.grow()
        self.change()

    def grow(self) -> None:
        """What more there is in it than in a small one."""

    def change(self) -> str:
        """Push a one-line change, to what no run had before; its commit."""
        self.count += 1
        (self.tree / "app.js").write_text(
            "const app = module.exports = require('express')()\n"
            f"app.get('/', (_, answer) => answer.send('{self.tree} {self.count}'))\n"
        )
        return self._push()

    def change_dependency(self) -> str:
        """Push another version of one package, and a line; the commit."""
        # It has hundreds: one that has been there is found in a cache.
        other = f"electron-to-chromium@1.4.{100 + self.count}"
        run("npm", "install", "--package-lock-only", "-E", other, cwd=self.tree)
        return self.change()

    def _push(self) -> str:
        run("git", "add", "-A", cwd=self.tree)
        author = ("-c", "user.name=Bench", "-c", "user.email=bench@example.com")
        run("git", *author, "commit", "-qm", f"fix: {self.count}", cwd=self.tree)
        run("git", "push", "-q", self.remote, "main", cwd=self.tree)
        return run("git", "rev-parse", "HEAD", cwd=self.tree).strip()


class Checkout(NamedTuple):
    """A checkout of this project, called as a person calls it: of any version."""

    name: str
    root: Path

    def stage(self, project: Project, commit: str) -> Path:
        """A new build directory, made with resolved settings as a poller does."""
        command = self.root / "scripts/stage.sh", f"bench/{project.name}"
        resolved = settings(self, project)
        return Path(run(*command, "refs/heads/main", commit, SETTINGS=resolved).strip())

    def pipeline(self, project: Project, commit: str) -> Times:
        """Stage and build a commit; seconds by step, "all" among them."""
        settings(self, project)  # a poller has them already
        began = time.monotonic()
        build = self.stage(project, commit)
        run(self.root / "scripts/pipeline.sh", build)
        took = time.monotonic() - began
        # A poller makes room after each build, beside the next one.
        run(self.root / "scripts/prune.sh", build.parents[2])
        result = json.loads((build / "result.json").read_text())
        return {s["name"]: s["seconds"] for s in result["steps"]} | {"all": took}


@cache
def settings(checkout: Checkout, project: Project) -> str:
    """What the checkout makes of the project's settings; its builds are its own."""
    entry = f"bench/{project.name}"
    about = {
        "url": project.remote.as_uri(),
        "image": f"{project.image}-{checkout.name}",
    }
    config = project.work / f"{project.name}.{checkout.name}.json"
    document = {
        "registry": project.registry,
        "builds": f"{project.name}.{checkout.name}",
        "repositories": {entry: about | project.settings},
        **project.top,
    }
    config.write_text(json.dumps(document))
    python = checkout.root / ".venv/bin/python"
    command = python, "-P", "-m", "wrapper.config", entry
    return run(*command, CONFIG=str(config), PYTHONPATH=str(checkout.root))


def plain(project: Project, commit: str) -> Times:
    """Build a commit with the plain commands; seconds by step."""
    times: Times = {}
    tree = project.work / f"{project.name}.plain"
    image = f"{project.registry}/{project.image}"
    tags = [f"{image}:{tag}" for tag in (f"1.0.{project.count}", "1.0", "1", "latest")]

    @contextmanager
    def timed(step: str) -> Iterator[None]:
        began = time.monotonic()
        yield
        times[step] = time.monotonic() - began

    with timed("all"):
        with timed("clone"):
            run("git", "clone", "-q", project.remote.as_uri(), tree)
            run("git", "checkout", "-q", commit, cwd=tree)
        with timed("npm-install"):
            if not project.installs:
                run("npm", "ci", cwd=tree)
        with timed("version"):
            run("git", "describe", "--tags", "--always", cwd=tree)
        with timed("build"):
            run(DOCKER, "build", "-t", tags[0], tree)
        with timed("unit-test"):
            tested = tags[0]
            if project.stage:
                tested = f"{project.image}-tested"
                run(DOCKER, "build", "-t", tested, "--target", project.stage, tree)
            run(DOCKER, "run", "--rm", tested, "npm", "test")
        with timed("tag-push"):
            for tag in tags:
                run(DOCKER, "tag", tags[0], tag)
                run(DOCKER, "push", tag)
        shutil.rmtree(tree)
    return times


def arguments() -> tuple[int, list[Checkout]]:
    """ROUNDS, and the checkouts to measure, of the command line."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 9
    others = [Checkout("other", Path(folder).resolve()) for folder in sys.argv[2:]]
    return rounds, [Checkout("this", ROOT), *others]


def measure(rounds: int, ways: Mapping[str, Callable[[], T]]) -> dict[str, list[T]]:
    """What each way gives, round by round. Who comes before whom changes in each."""
    orders = list(itertools.permutations(ways))
    given: dict[str, list[T]] = {way: [] for way in ways}
    for turn in range(rounds):
        for way in orders[turn % len(orders)]:
            given[way].append(ways[way]())
    return given


def spread(numbers: list[float]) -> str:
    low, middle, high = min(numbers), statistics.median(numbers), max(numbers)
    return f"{middle:.2f} ({low:.2f} to {high:.2f})"


def row(name: str, given: dict[str, list[Times]]) -> None:
    """Print a line of the table: medians by step, then the ratios to plain."""
    cells = [
        " / ".join(
            f"{statistics.median(times.get(step, 0) for times in rounds):.2f}"
            for rounds in given.values()
        )
        for step in (*STEPS, "all")
    ]
    plain, *rest = given.values()
    for rounds in rest:
        pairs = zip(rounds, plain, strict=True)
        cells.append(spread([mine["all"] / theirs["all"] for mine, theirs in pairs]))
    print(name, "|", " | ".join(cells), flush=True)


Way = Callable[[Project, str], Times]


def changed(way: Way, project: Project) -> Times:
    return way(project, project.change())


def with_another_dependency(way: Way, project: Project) -> Times:
    return way(project, project.change_dependency())


def changed_at_once(checkout: Checkout, projects: list[Project]) -> float:
    commits = [each.change() for each in projects]
    began = time.monotonic()
    with ThreadPoolExecutor() as pool:
        list(pool.map(checkout.pipeline, projects, commits))
    return time.monotonic() - began


def one_repository(work: Path, rounds: int, ways: dict[str, Way]) -> None:
    """In each shape: one line changed, nothing changed, one dependency changed."""
    for kind, dockerfile in DOCKERFILES.items():
        project = Project(work, kind.replace(" ", "-").lower(), dockerfile)
        calls = {name: partial(changed, way, project) for name, way in ways.items()}
        # A first build pushes the base image and fills every cache, for all.
        measure(1, calls)
        row(f"one line changed, {kind}", measure(rounds, calls))

        commit = project.change()
        again = {name: partial(way, project, commit) for name, way in ways.items()}
        measure(1, again)
        row(f"the same commit again, {kind}", measure(rounds, again))

        other = {
            name: partial(with_another_dependency, way, project)
            for name, way in ways.items()
        }
        row(f"one dependency changed, {kind}", measure(rounds, other))


def several_at_once(work: Path, rounds: int, checkouts: list[Checkout]) -> None:
    """In each of them, one line changed."""
    for count in (1, 2, 4):
        names = [f"many{count}{i}" for i in range(count)]
        projects = [Project(work, name, DOCKERFILES["layered"]) for name in names]
        calls = {c.name: partial(changed_at_once, c, projects) for c in checkouts}
        measure(1, calls)
        for name, times in measure(rounds, calls).items():
            took = statistics.median(times)
            print(f"{count} repositories at once, layered, {name} |", end=" ")
            print(f"{took:.2f} s in all, {took / count:.2f} s each", flush=True)


def first_builds(work: Path, rounds: int, ways: dict[str, Way]) -> None:
    """A new repository, an empty cache of npm, an image the engine knows nothing of."""
    numbers = itertools.count(1)

    def build(kind: str, name: str, way: Way) -> Times:
        first = f"first-{name}-{next(numbers)}"
        text = DOCKERFILES[kind]
        text = text.replace("WORKDIR", f"ENV FIRST={first}\nWORKDIR")
        project = Project(work, first, text)
        commit = project.change()
        shutil.rmtree(work / "npm", ignore_errors=True)
        return way(project, commit)

    os.environ["NPM_CONFIG_CACHE"] = str(work / "npm")
    for kind in "installs by itself", "copies everything":
        calls = {name: partial(build, kind, name, way) for name, way in ways.items()}
        row(f"first build ever, {kind}", measure(rounds, calls))


def main() -> None:
    rounds, checkouts = arguments()
    ways: dict[str, Way] = {"plain": plain}
    ways |= {checkout.name: checkout.pipeline for checkout in checkouts}
    ratios = [f"{checkout.name} of plain" for checkout in checkouts]
    print("seconds,", " / ".join(ways), "|", " | ".join([*STEPS, "all", *ratios]))
    with tempfile.TemporaryDirectory(prefix="bench.") as folder:
        work = Path(folder)
        one_repository(work, rounds, ways)
        several_at_once(work, max(rounds // 3, 1), checkouts)
        first_builds(work, max(rounds // 3, 1), ways)


if __name__ == "__main__":
    main()
