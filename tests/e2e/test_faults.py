"""What production does to a build server: each fault ends one build, and no more.

In each case the build ends as `error` naming the step, the poller lives, and the next
push is built once the part is back.
"""

import json
import os
import subprocess

import pytest

from tests.support.faults import (
    Gate,
    Reader,
    gated,
    nothing_left,
    processes,
    service,
)
from tests.support.parts import STEPS, results
from wrapper.builds.directory import builds_in

NO_RETRIES = dict.fromkeys(STEPS, 0)


@pytest.fixture(scope="module")
def engine():
    with service("engine") as one:
        yield one


@pytest.fixture(scope="module")
def own_registry():
    with service("registry") as one:
        yield one


@pytest.fixture
def reader(builds):
    """No JSON file of ours is ever found half-written, whatever happens meanwhile."""
    one = Reader(builds)
    yield one
    one.stop()
    assert one.read
    assert not one.broken


@pytest.fixture
def scene(make_repo, github, configure, run_poller, builds, name, own_registry, reader):
    """scene(STEP, **settings) -> tree, gate, poller: a push that is held up there."""

    def scene(step, run="true", docker_host=None, **settings):
        tree = make_repo()
        settings = (
            {"retries": NO_RETRIES} | gated(tree, github, run, Gate.BALLAST) | settings
        )
        config = configure(repositories={name: settings}, registry=own_registry.address)
        host = docker_host or os.environ.get("DOCKER_HOST")
        poller = run_poller(config, DOCKER_HOST=host)
        poller.wait_for((builds / name / "state.json").exists)
        pause = builds / ".pause"
        pause.touch()
        tree.push()
        poller.wait_for(lambda: builds_in(builds / name))
        gate = Gate(step, name, github, own_registry)
        gate.close()
        pause.unlink()
        return tree, gate, poller

    return scene


def ended(poller, builds, name):
    """The result of the build, the only one so far."""
    [result] = poller.wait_for(lambda: results(builds, name))
    return result


def next_is_built(poller, tree, builds, files=None):
    """One more push becomes an image; before it, there was one build."""
    tree.commit(files)
    tree.push()
    poller.wait_for(lambda: len(results(builds, tree.name)) == 2, 90)
    assert results(builds, tree.name)[1]["status"] == "success", poller.output
    assert poller.stop() == 143


def is_interrupted(poller, builds, name, step):
    """The engine's trouble is said, and the build waits for its end."""
    poller.said(f"{step}.sh: the Docker engine does not answer", 90)
    poller.said("nothing starts until that is over")
    [build] = builds_in(builds / name)
    poller.wait_for(lambda: build.state() == "interrupted")
    poller.wait_for(lambda: not (build.path / ".result.json").exists())


def test_the_engine_stops_in_the_middle_of_a_build(scene, builds, name, engine):
    tree, _, poller = scene("none", run="sleep 120", docker_host=engine.address)
    dockerfile = (tree.folder / "Dockerfile").read_text()
    poller.wait_for(lambda: [p for p in processes(name) if "sleep 120" in p])
    engine.stop()
    is_interrupted(poller, builds, name, "build")
    tree.commit({"Dockerfile": dockerfile.replace("sleep 120", "true")})
    tree.push()
    poller.wait_for(lambda: len(builds_in(builds / name)) == 2)
    engine.start()
    poller.wait_for(lambda: len(results(builds, name)) == 2, 90)
    ends = [result["status"] for result in results(builds, name)]
    assert ends == ["superseded", "success"], poller.output
    assert poller.stop() == 143


def test_the_engine_stops_in_the_middle_of_the_tests(
    scene, builds, name, engine, github
):
    tree, gate, poller = scene("unit-test", docker_host=engine.address)
    poller.wait_for(gate.reached)
    engine.stop()
    is_interrupted(poller, builds, name, "unit-test")
    gate.open()
    engine.start()
    assert ended(poller, builds, name)["status"] == "success"
    next_is_built(poller, tree, builds)


def test_the_engine_stops_in_the_middle_of_a_push(
    scene, builds, name, engine, own_registry
):
    tree, gate, poller = scene("tag-push", docker_host=engine.address)
    poller.wait_for(gate.reached)
    engine.stop()
    is_interrupted(poller, builds, name, "tag-push")
    gate.open()
    engine.start()
    assert ended(poller, builds, name)["status"] == "success"
    next_is_built(poller, tree, builds)


def test_the_registry_stops_in_the_middle_of_a_push(
    scene, builds, name, own_registry, docker
):
    # The engine itself would go on trying for about a minute.
    tree, gate, poller = scene("tag-push", timeouts={"tag-push": 10})
    poller.wait_for(gate.reached)
    own_registry.kill()
    own_registry.stop()
    result = ended(poller, builds, name)
    assert (result["status"], result["failed_step"]) == ("error", "tag-push")
    assert result["exit_code"] == 124
    assert result["pushed"] == []
    own_registry.start()
    next_is_built(poller, tree, builds)
    nothing_left(builds, name, docker)


def test_the_git_server_stops_in_the_middle_of_a_clone(
    scene, builds, name, github, docker
):
    tree, gate, poller = scene("clone", retries=NO_RETRIES | {"clone": 1})
    poller.wait_for(gate.reached)
    github.stop()
    result = ended(poller, builds, name)
    assert (result["status"], result["failed_step"]) == ("error", "clone")
    assert result["steps"][0]["attempts"] == 2
    assert f"clone.sh: cannot fetch {tree.url}" in result["message"]
    poller.said("cannot reach")
    gate.open()
    github.restart()
    next_is_built(poller, tree, builds)
    nothing_left(builds, name, docker)


class SmallDisk:
    """A tmpfs of some MB."""

    def __init__(self, folder, size):
        self.folder = folder
        folder.mkdir()
        self._mount("-o", f"size={size}m", "tmpfs")

    def enlarge(self, size):
        self._mount("-o", f"remount,size={size}m")

    def fill(self):
        """To the last byte."""
        with (self.folder / "filler").open("wb", buffering=0) as file:
            for size in 1 << 20, 1 << 12:
                try:
                    while True:
                        file.write(bytes(size))
                except OSError:
                    pass

    def _mount(self, *options):
        subprocess.run(["mount", "-t", "tmpfs", *options, self.folder], check=True)


@pytest.fixture
def disk(builds, reader):
    """The builds folder on a disk that fits one copy of the application, not two."""
    yield SmallDisk(builds, 20)
    reader.stop()
    subprocess.run(["umount", "-l", builds], check=True)


def test_the_disk_is_full_in_the_middle_of_a_clone(disk, scene, builds, name):
    tree, _, poller = scene("none")
    result = ended(poller, builds, name)
    assert (result["status"], result["failed_step"]) == ("error", "clone")
    assert "is the disk full?" in result["message"]
    disk.enlarge(400)
    next_is_built(poller, tree, builds)


def test_the_disk_is_full_when_the_tests_end(disk, scene, builds, name):
    disk.enlarge(400)
    tree, gate, poller = scene("unit-test")
    poller.wait_for(gate.reached)
    disk.fill()
    tree.commit()
    tree.push()  # cannot be staged either
    poller.said("No space left on device; asked again")
    [build] = builds_in(builds / name)
    (builds / ".pause").touch()  # once that build is over there are some bytes again
    gate.open()
    poller.said(f"cannot write {build.path}/tested")
    poller.wait_for(lambda: build.state() in ("error", "interrupted"))
    assert not (build.path / "tested").exists()
    if result := build.result():  # else it is run again
        assert (result["status"], result["failed_step"]) == ("error", "unit-test")
        assert "cannot write" in result["message"]
    (builds / "filler").unlink()
    (builds / ".pause").unlink()
    poller.wait_for(lambda: len(results(builds, name)) == 2, 90)
    assert results(builds, name)[1]["status"] == "success", poller.output
    for line in (builds / "journal.jsonl").read_text().splitlines():
        json.loads(line)
    assert poller.stop() == 143


def test_a_poller_lives_though_it_can_write_nothing_at_all(
    disk, make_repo, configure, run_poller, builds, name, github
):
    """Not its lock, nor that a build is superseded."""
    disk.enlarge(400)
    tree = make_repo()
    config = configure(repositories={name: {"retries": NO_RETRIES}})
    poller = run_poller(config)
    poller.wait_for((builds / name / "state.json").exists)
    (builds / ".pause").touch()
    folder = builds / name
    for count in 1, 2:
        tree.commit()
        tree.push()
        poller.wait_for(lambda n=count: len(builds_in(folder)) == n)
    poller.wait_for(lambda: results(builds, name))
    assert poller.stop() == 143
    for path in *builds.rglob("result.json"), *builds.rglob("lock"):
        path.unlink()
    (builds / ".lock").unlink()
    (builds / ".pause").unlink()
    disk.fill()
    poller = run_poller(config)
    polls = len(github.requests)
    poller.wait_for(lambda: len(github.requests) > polls + 20)
    (builds / "filler").unlink()
    poller.wait_for(lambda: len(results(builds, name)) == 2)
    ends = [r["status"] for r in results(builds, name)]
    assert ends in (["superseded", "error"], ["superseded", "failure"])
    tree.commit()
    tree.push()
    poller.wait_for(lambda: len(results(builds, name)) == 3)
    assert results(builds, name)[2]["status"] == "failure"  # there is no Dockerfile
    assert poller.output.count("No space left on device") < 20
    assert poller.stop() == 143
