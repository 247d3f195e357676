"""A builds folder as version 0.1.0 leaves it goes on, is listed and is pruned.

tests/support/builds-0.1.0 is such a folder, without src/ and caches; what depends on
the place stands between @ signs.
"""

import json
import shutil
import subprocess
from functools import partial

import pytest

from tests.support.parts import ROOT, application, wait_for

FINISHED = "20261126T170104.560609Z-1234567"
INTERRUPTED = "20261126T170109.697860Z-1234567"
WAITING = "20261126T170110.448295Z-1234567"
BY_HAND = "20261126T170110.597131Z-1234567"


@pytest.fixture
def upgraded(make_repo, configure, github, builds, base_image, docker, registry, name):
    """The folder of its only repository, its config.json and image, in this place."""
    tree = make_repo(application(base_image), name=name)
    image = docker("build", "-q", "--label", f"unlike={name}", str(tree.folder))
    places = {
        "@BUILDS@": str(builds),
        "@COMMIT@": tree.head,
        "@SERVER@": github.url,
        "@API@": github.url,
        "@URL@": tree.url,
        "@REGISTRY@": registry.address,
        "@IMAGE@": image,
        "old/app": name,
    }
    shutil.copytree(ROOT / "tests" / "support" / "builds-0.1.0", builds, symlinks=True)
    folder = builds / name
    folder.parent.mkdir(parents=True)
    (builds / "old" / "app").rename(folder)
    for file in builds.rglob("*"):
        if file.is_file() and not file.is_symlink():
            content = file.read_bytes()
            for word, place in places.items():
                content = content.replace(word.encode(), place.encode())
            file.write_bytes(content)
    config = configure(repositories={name: {"keep": 1}})
    return folder, config, image


def result(folder, build):
    file = folder / build / "result.json"
    return json.loads(file.read_text()) if file.exists() else None


def command(config, *words):
    line = [ROOT / ".venv/bin/docker-build-server", "--config", config, *words]
    return subprocess.run(line, capture_output=True, text=True, check=True).stdout


def test_what_waits_and_what_was_interrupted_is_built(upgraded, run_poller, name):
    folder, config, _ = upgraded
    poller = run_poller(config)
    for build in INTERRUPTED, WAITING:
        ended = wait_for(partial(result, folder, build), 60)
        assert ended["status"] == "success", poller.output
        assert (folder / build / "settings" / "keep").read_text() == "1"
    assert not result(folder, BY_HAND)
    # It is finished, told of, and not the newest success: it goes, with its image.
    wait_for(lambda: not (folder / FINISHED).exists(), 60, poller.output)
    assert "staged" not in poller.output  # what was handled is not handled again


def test_it_is_listed(upgraded, name):
    folder, config, _ = upgraded
    listed = command(config, "status", "--all", "--json")
    rows = {one["id"]: one["status"] for one in json.loads(listed)["builds"]}
    ends = {FINISHED: "success", INTERRUPTED: "interrupted", WAITING: "queued"}
    for build, state in (ends | {BY_HAND: "staged"}).items():
        assert state == rows[build]
    commit = json.loads((folder / WAITING / "build.json").read_text())["commit"]
    assert "success: 1.0.1-main.2.g1234567" in command(config, "why", commit)


def test_steps_by_hand_go_on(upgraded, docker):
    folder, _, _ = upgraded
    build = folder / BY_HAND
    for step in "clone", "npm-install", "version", "build", "unit-test", "tag-push":
        subprocess.run([ROOT / "scripts" / f"{step}.sh", build], check=True)
    assert len((build / "pushed").read_text().splitlines()) == 6


def test_its_images_go_with_it(upgraded, docker):
    folder, _, image = upgraded
    for build in INTERRUPTED, BY_HAND:
        (folder / build / "image").unlink()  # else they would share it
        (folder / build / "image.built").unlink()
    success = {"format": 1, "status": "success", "steps": []}
    (folder / WAITING / "result.json").write_text(json.dumps(success))
    (folder / WAITING / "status").write_text("success success\n")
    link = folder.parents[1] / ".cache" / "context" / "o" / "n"  # no longer used
    link.parent.mkdir(parents=True)
    link.symlink_to(folder)
    subprocess.run([ROOT / "scripts" / "prune.sh", folder.parents[1]], check=True)
    assert not link.parents[1].exists()
    assert not (folder / FINISHED).exists()
    assert image not in docker("images", "-q", "--no-trunc")
