"""A build in the shape in which others get it."""

import json
import os
import time

import pytest

from tests.wrapper.test_directory import make  # noqa: F401
from wrapper.builds.lock import lock
from wrapper.builds.records import Records
from wrapper.builds.steps import Step, read_steps

STEPS = (
    "begin\tclone\t2026-11-22T05:10:00.000000Z\t40\n"
    "end\tclone\t2026-11-22T05:10:01.500000Z\tsuccess\t1.500000\t1\t90\n"
    "begin\tnpm-install\t2026-11-22T05:10:01.500000Z\t120\n"
)
KEYS = (
    "repository id ref commit source status step failed_step message failing version "
    "author subject staged_at started_at finished_at seconds usual_seconds pushed"
)


@pytest.fixture
def build(make):  # noqa: F811
    return make(1, ref="refs/heads/main", staged_at="2026-11-22T05:10:00Z")


def document(build):
    return Records().of(build).document()


def test_one_that_waits(build):
    found = document(build)
    assert list(found) == KEYS.split()
    absent = {key for key, value in found.items() if value is None}
    known = {"repository", "id", "ref", "commit", "source", "status", "staged_at"}
    assert absent == found.keys() - known - {"failing", "pushed"}
    assert found["status"] == "queued" and found["failing"] == found["pushed"] == []
    assert json.loads(json.dumps(found)) == found


def test_one_that_runs(build):
    (build.path / "steps").write_text(STEPS)
    (build.path / "commit").write_text("Ada Löw\nfix: it\n")
    seconds = {"refs/heads/main": {"build": build.id, "seconds": [9, 1, 4]}}
    state = build.path.parent / "state.json"
    state.write_text(json.dumps({"latest": seconds}))
    with lock(build.path / "lock"):
        os.utime(build.path / "lock", (time.time() - 100,) * 2)
        found = document(build)
    assert (found["status"], found["step"]) == ("running", "npm-install")
    assert (found["author"], found["subject"]) == ("Ada Löw", "fix: it")
    assert found["usual_seconds"] == 4 and 99 < found["seconds"] < 200
    assert document(build)["step"] is None  # it does not run any more


def test_one_that_has_ended(build):
    line = {"line": 3, "offset": 40, "text": "not ok 1 - adds"}
    result = {
        "status": "failure",
        "failed_step": "unit-test",
        "message": "no",
        "failing": [line, "odd"],
        "started_at": "2026-11-22T05:10:00Z",
        "finished_at": "2026-11-22T05:10:42Z",
        "version": "1.2.3",
        "pushed": None,
    }
    (build.path / "result.json").write_text(json.dumps(result))
    found = document(build)
    assert found["failing"] == [line] and found["pushed"] == []
    assert found["seconds"] == 42 and found["version"] == "1.2.3"
    assert (found["failed_step"], found["message"]) == ("unit-test", "no")
    assert found["step"] is None


def test_one_by_hand_shows_its_last_step(make):  # noqa: F811
    build = make(1, source="manual")
    (build.path / "runs").mkdir()
    for name, at in ("clone", 10), ("version", 12), ("build", 11):
        run = {"format": 1, "started_at": f"2026-11-22T05:{at}:00Z"}
        (build.path / f"runs/{name}.json").write_text(json.dumps(run))
    (build.path / "runs/later.json").write_text('{"format": 2}')
    found = document(build)
    assert (found["status"], found["step"]) == ("staged", "version")


@pytest.mark.parametrize(
    "odd", ["[]", '{"latest": []}', '{"latest": {"refs/heads/main": 1}}']
)
def test_a_state_that_is_odd(build, odd):
    (build.path.parent / "state.json").write_text(odd)
    records = Records()
    assert records.of(build).usual_seconds is None
    assert records.newest_ids(build.path.parent) == []


def test_steps_as_they_were_noted(build):
    assert read_steps(build.path) == []
    (build.path / "steps").write_text("nonsense\n" + STEPS + "end\tnpm-inst")
    clone = Step("clone", "2026-11-22T05:10:00.000000Z", 40, "success", 1.5, 1, 90)
    install = Step("npm-install", "2026-11-22T05:10:01.500000Z", 120)
    assert read_steps(build.path) == [clone, install]
