"""Ended in whatever step, a build leaves nothing behind, and goes on where it may."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.faults import Gate, gated, nothing_left, service
from tests.support.parts import ROOT, STEPS, Poller, Tree, results, wait_for
from wrapper.builds.directory import Build, builds_in


@pytest.fixture(scope="module")
def own_registry():
    with service("registry") as one:
        yield one


@dataclass
class Scene:
    tree: Tree
    config: Path
    builds: Path
    gate: Gate
    start: Callable[[], Poller]

    def first(self) -> Poller:
        """A poller that has seen the repository."""
        poller = self.start()
        poller.wait_for((self.builds / self.tree.name / "state.json").exists)
        return poller

    def hold(self, poller: Poller) -> Build:
        """A push whose build is held up at the step."""
        pause = self.builds / ".pause"
        pause.touch()
        self.tree.push()
        [build] = poller.wait_for(lambda: builds_in(self.builds / self.tree.name))
        self.gate.close()
        pause.unlink()
        poller.wait_for(self.gate.reached)
        # For version.sh begins beside npm-install.sh.
        turn, console = f"== {self.gate.step}\n", build.path / "console.log"
        poller.wait_for(lambda: turn in console.read_text())
        return build


@pytest.fixture
def scene(
    make_repo, github, configure, run_poller, builds, name, own_registry, tmp_path
):
    """scene(STEP): a repository whose builds can be held up at the step."""

    def scene(step: str) -> Scene:
        # A step asks by the repository's own code; only `version` runs nothing of it.
        python = tmp_path / "python"
        ask = f"curl -fs {github.url}/gate/version >/dev/null"
        python.write_text(
            f'#!/bin/sh\ncase "$*" in *wrapper.version*) {ask} ;; esac\n'
            f'exec {sys.executable} "$@"\n'
        )
        python.chmod(0o755)
        tree = make_repo()
        ballast = Gate.BALLAST if step == "tag-push" else 0
        settings = gated(tree, github, ballast=ballast)
        config = configure(repositories={name: settings}, registry=own_registry.address)
        gate = Gate(step, name, github, own_registry)
        return Scene(
            tree,
            config,
            builds,
            gate,
            lambda: run_poller(config, PYTHON=str(python), GITHUB_TOKEN="any"),
        )

    yield scene
    own_registry.thaw()


def last_states(github):
    """What GitHub knows in the end of each commit."""
    return {status["sha"]: status["state"] for status in github.statuses}


def succeeds(scene, poller, github):
    """The one push is built, and GitHub told so; the build."""
    poller.wait_for(lambda: results(scene.builds, scene.tree.name), 120)
    poller.wait_for(lambda: last_states(github) == {scene.tree.head: "success"})
    assert poller.stop() == 143
    [build] = builds_in(scene.builds / scene.tree.name)
    assert build.state() == "success", poller.output
    return build


def stays(scene, build, github):
    """Another start changes nothing: no second build, no second push."""
    before = (build.path / "result.json").stat()
    again = scene.start()
    polls = len(github.requests)
    again.wait_for(lambda: len(github.requests) > polls + 5)
    assert again.stop() == 143
    assert [b.id for b in builds_in(build.path.parent)] == [build.id]
    assert (build.path / "result.json").stat() == before
    assert last_states(github) == {scene.tree.head: "success"}


@pytest.mark.parametrize("step", STEPS)
def test_int_cancels_what_runs(scene, github, builds, name, docker, step):
    scene = scene(step)
    poller = scene.first()
    build = scene.hold(poller)
    assert poller.stop(signal.SIGINT) == 130
    nothing_left(builds, name, docker)
    result = build.result()
    assert result and (result["status"], result["failed_step"]) == ("cancelled", step)
    assert last_states(github) == {build.commit: "error"}
    assert not list(builds.rglob("*.tmp")), "half-made files"


@pytest.mark.parametrize("step", STEPS)
def test_after_term_the_build_goes_on_at_the_next_start(
    scene, github, builds, name, docker, step
):
    scene = scene(step)
    poller = scene.first()
    build = scene.hold(poller)
    assert poller.stop(signal.SIGTERM) == 143
    nothing_left(builds, name, docker)
    assert build.state() == "interrupted"
    scene.gate.open()
    succeeds(scene, scene.start(), github)


@pytest.mark.parametrize("step", STEPS)
def test_after_a_kill_the_build_goes_on_at_the_next_start(
    scene, github, builds, name, docker, step
):
    scene = scene(step)
    poller = scene.first()
    build = scene.hold(poller)
    poller.kill()
    # The last of its processes may still be closing its files.
    wait_for(lambda: build.state() == "interrupted")
    scene.gate.open()
    stays(scene, succeeds(scene, scene.start(), github), github)
    nothing_left(builds, name, docker)


@pytest.mark.parametrize("paused", [True, False], ids=["waiting", "finished"])
def test_a_kill_between_staging_and_saving_the_state(
    scene, github, builds, name, paused
):
    scene = scene("none")
    poller = scene.first()
    if paused:
        (builds / ".pause").touch()
    os.mkfifo(builds / name / ".state.json.tmp")  # saving waits for somebody to read
    scene.tree.push()
    [build] = poller.wait_for(lambda: builds_in(builds / name))
    if not paused:
        poller.wait_for(lambda: build.state() == "success")
    poller.kill()
    assert build.commit not in (builds / name / "state.json").read_text()
    (builds / name / ".state.json.tmp").unlink()
    (builds / ".pause").unlink(missing_ok=True)
    stays(scene, succeeds(scene, scene.start(), github), github)
    assert build.commit in (builds / name / "state.json").read_text()


def test_cancel_ends_a_build_that_runs_and_the_next_one_starts(
    scene, github, builds, name, docker
):
    scene = scene("unit-test")
    poller = scene.first()
    build = scene.hold(poller)
    command = [sys.executable, "-m", "wrapper", "cancel", "--config", scene.config]
    done = subprocess.run(
        [*command, build.id], cwd=ROOT, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"{build.path}: cancelled\n"
    poller.wait_for(lambda: last_states(github) == {build.commit: "error"})
    scene.gate.open()
    scene.tree.commit()
    scene.tree.push()
    poller.wait_for(lambda: len(results(builds, name)) == 2)
    assert [r["status"] for r in results(builds, name)] == ["cancelled", "success"]
    journal = (builds / "journal.jsonl").read_text().splitlines()
    ends = [json.loads(x)["why"] for x in journal if '"finished"' in x]
    assert ends[0].startswith("cancelled at unit-test")
    assert poller.stop() == 143
    nothing_left(builds, name, docker)
