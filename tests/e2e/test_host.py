"""The host's trouble holds the queue: no build is spent on it."""

import json
import os

from tests.e2e.conftest import Stub
from tests.support.faults import Gate, gated, service
from tests.support.parts import results, wait_for
from wrapper.__main__ import main
from wrapper.builds.directory import builds_in
from wrapper.commands import health
from wrapper.config.load import load


def test_an_engine_that_is_away_for_a_while(
    make_repo, configure, run_poller, github, builds, registry, name
):
    """Five pushes to five branches meet an engine that is stopped meanwhile."""
    tree = make_repo()
    settings = gated(tree, github) | {"branches": ["b*"], "install": {"image": None}}
    path = configure(repositories={name: settings | {"publish": ["{version}"]}})
    with service("engine") as engine:
        poller = run_poller(path, DOCKER_HOST=engine.address)
        poller.said(f"{name}: noted")
        engine.stop()
        for number in range(5):
            tree.commit({"number": str(number)})
            tree.push(f"main:b{number}")
        poller.said("engine: ", 60)
        poller.wait_for(lambda: health.run(load(str(path))) == 1, 60, "health is ill")
        poller.wait_for(lambda: len(builds_in(builds / name)) == 5)
        assert results(builds, name) == []
        engine.start()
        poller.wait_for(lambda: len(results(builds, name)) == 5, 240, "five results")
    found = results(builds, name)
    assert [result["status"] for result in found] == ["success"] * 5, found
    said = [line for line in poller.output.splitlines() if " host: " in line]
    assert len(said) == 2, said
    assert "nothing starts until that is over" in said[0]
    assert said[1].endswith("host: all is well again, builds go on")


def test_a_registry_that_is_away_at_the_push(
    make_repo, configure, run_poller, github, builds, name, docker
):
    """A build that has begun is interrupted, and starts over when that is over."""
    tree = make_repo()
    settings = gated(tree, github) | {"retries": {"tag-push": 0}}
    with service("registry") as own:
        gate = Gate("unit-test", name, github, own)
        gate.close()
        path = configure(repositories={name: settings}, registry=own.address)
        poller = run_poller(path)
        poller.said(f"{name}: noted")
        tree.commit()
        tree.push()
        poller.wait_for(gate.reached, 120, "the tests run")
        own.stop()
        gate.open()
        poller.said("cannot be reached", 60)
        [build] = builds_in(builds / name)
        poller.wait_for(lambda: build.state() == "interrupted")
        own.start()
        poller.wait_for(build.result, 120)
    result = build.result()
    assert result and result["status"] == "success"
    lines = map(json.loads, (builds / "journal.jsonl").read_text().splitlines())
    told = [line["what"] for line in lines if line["build"] == build.id]
    assert sorted(told) == ["finished", "pushed", "staged", "started", "started"]


def test_a_disk_that_fills_up_is_said_once(watched, name, configure):
    tree, poller = watched()
    free = os.statvfs(poller.folder)
    configure(name, disk_free_min=free.f_bavail * free.f_frsize + (1 << 40))
    poller.says("configuration: ")
    poller._poller._host.check()
    poller.says("nothing starts until that is over")
    tree.commit()
    tree.push()
    poller.has(name, ("refs/heads/main", tree.head))
    assert poller.states(name) == ["queued"] and not Stub.most
    document = json.loads((poller.folder / ".health.json").read_text())
    assert "wanted are" in document["host"][0]
    assert main(["health", "--config", str(poller.config)]) == 1
    configure(name)
    wait_for(lambda: poller.states(name) == ["success"], 60)
    assert poller.output.count(" host: ") == 2
