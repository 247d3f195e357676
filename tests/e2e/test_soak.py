"""Many pushes, the poller killed at random: none is lost or built twice."""

import json
import os
import random
import shutil
from collections import defaultdict
from pathlib import Path

import pytest

from tests.support.parts import Poller, results

REPOSITORIES = 10
UNDISTURBED = 20, 80  # pushes without a kill: the first, and the last ones
SEED = int(os.environ.get("SOAK_SEED") or random.randrange(10**6))


def memory(poller: Poller) -> int:
    """KiB that the poller has in use."""
    status = Path(f"/proc/{poller.process.pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0])


def journal(builds: Path) -> dict[str, list[str]]:
    """What became of each commit, in order: finished, superseded and so on."""
    story = defaultdict(list)
    for line in (builds / "journal.jsonl").read_text().splitlines():
        told = json.loads(line)
        story[told["commit"]].append(f"{told['what']}: {told['why']}")
    return story


def ends(story: list[str]) -> list[str]:
    return [x for x in story if x.startswith(("finished: ", "superseded: "))]


@pytest.mark.parametrize(
    "pushes",
    [
        pytest.param(200, marks=pytest.mark.timeout(1200)),
        pytest.param(1000, marks=[pytest.mark.more, pytest.mark.timeout(6000)]),
    ],
)
def test_many_pushes_and_a_poller_killed_at_random(
    pushes, make_repo, configure, run_poller, github, builds, name, registry
):
    print(f"SOAK_SEED={SEED}")
    dice = random.Random(SEED)
    busybox = shutil.which("busybox")
    assert busybox, "busybox is not installed"
    docker = "FROM scratch\nCOPY busybox /bin/busybox\nCOPY README.md /\n"
    trees = [make_repo(name=f"{name}-{i}") for i in range(REPOSITORIES)]
    for tree in trees:
        shutil.copy(busybox, tree.folder / "busybox")
        tree.commit({"Dockerfile": docker, ".dockerignore": ".git\n"})
        tree.push()
    settings = {"test": {"command": ["/bin/busybox", "true"]}, "keep": pushes}
    config = configure(
        repositories={tree.name: settings for tree in trees},
        concurrency=2,
        poll={"interval": 0.5, "sweep": 3600},
    )
    poller = run_poller(config, GITHUB_TOKEN="any")
    poller.wait_for(lambda: poller.output.count("noted main") == len(trees))
    heads: dict[str, str] = {}  # every commit pushed, and where

    def push(count: int) -> None:
        for _ in range(count):
            tree = dice.choice(trees)
            heads[tree.commit({"README.md": f"Push {len(heads)}.\n"})] = tree.name
            tree.push()

    def settle() -> None:
        """Waits until every head has its end, and GitHub knows."""
        poller.wait_for(lambda: all(ends(journal(builds)[head]) for head in heads), 600)
        poller.wait_for(lambda: "pending" not in states().values())

    def states() -> dict[str, str]:
        return {status["sha"]: status["state"] for status in github.statuses}

    first, last = UNDISTURBED
    push(first)
    settle()
    early = memory(poller)
    kills = 0
    while len(heads) < pushes - last:
        push(min(dice.randint(1, 12), pushes - last - len(heads)))
        wanted = len(github.requests) + dice.randint(0, 40)  # in the midst of anything
        poller.wait_for(lambda n=wanted: len(github.requests) >= n)
        poller.kill()
        poller = run_poller(config, GITHUB_TOKEN="any")
        kills += 1
    push(last)
    settle()
    late = memory(poller)
    assert poller.stop() == 143

    story = journal(builds)
    done = [r for tree in trees for r in results(builds, tree.name)]
    succeeded = [r for r in done if r["status"] == "success"]
    print(
        f"{len(succeeded)} built, {kills} kills, {early} KiB after {first}, now {late}"
    )
    assert len(heads) == pushes
    for head, repository in heads.items():
        end = ends(story[head])
        built = [x for x in end if x.startswith("finished: success")]
        assert built or end[0].startswith("superseded: "), (repository, story[head])
    for tree in trees:
        if tree.head in heads:
            assert ends(story[tree.head])[-1].startswith("finished: success")
    commits = [
        json.loads(path.with_name("build.json").read_text())["commit"]
        for path in builds.glob("*/*/*Z-*/result.json")
        if json.loads(path.read_text())["status"] == "success"
    ]
    assert len(commits) == len(set(commits)), "a push was built twice"
    assert set(commits) <= heads.keys()
    assert {r["status"] for r in done} <= {"success", "superseded"}
    assert set(states().values()) <= {"success", "error"}
    assert late < early * 1.1
