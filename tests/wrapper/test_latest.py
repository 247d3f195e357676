"""Of each ref its newest build and durations: nothing of it is lost, nor holds up."""

import json
import threading
from collections.abc import Mapping

import pytest

from tests.support.parts import wait_for
from tests.wrapper.test_directory import make  # noqa: F401
from wrapper.pushes.latest import LatestBuilds
from wrapper.pushes.state import Latest, State, load, noted

MAIN = "refs/heads/main"


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "builds/o/n"


def on_disk(folder):
    found = json.loads((folder / "state.json").read_text())["latest"]
    return {ref: (e["build"], e["seconds"]) for ref, e in found.items()}


def success(seconds):
    return {"status": "success", "steps": [{"seconds": seconds}]}


def test_the_newest_build_and_the_last_five_successes(make):  # noqa: F811
    latest = noted({}, make(2))
    for seconds in range(7):
        latest = noted(latest, make(3 + seconds), success(seconds + 0.5))
    latest = noted(latest, make(1), success(99.5))  # an older one that ran again
    latest = noted(latest, make(20, ref="refs/tags/v1"))
    latest = noted(latest, make(30, ref="1a2b3c4" * 6))  # which is no ref
    assert latest.keys() == {MAIN, "refs/tags/v1"}
    assert latest[MAIN].build.startswith("20261122T051009")
    assert latest[MAIN].seconds == [3.5, 4.5, 5.5, 6.5, 99.5]
    assert latest["refs/tags/v1"].seconds == []


def test_it_is_saved_with_the_state_and_by_itself(folder, make):  # noqa: F811
    one, two = make(1), make(2)
    state = State(folder, refs={MAIN: "a"}, seen={"7": 2**40}, newest=two.id)
    latest = LatestBuilds(state)
    latest.note([one])
    latest.save()
    assert not (folder / "state.json").exists()  # of no visit yet
    latest.save_with(state)
    assert on_disk(folder) == {MAIN: (one.id, [])}
    latest.note([two], success(12.3))
    latest.save()
    assert on_disk(folder) == {MAIN: (two.id, [12.3])}
    again = load(folder)
    assert again.latest == {MAIN: Latest(two.id, [12.3], two.commit)}
    assert (again.refs, again.seen) == ({MAIN: "a"}, {"7": 2**40})
    latest.keep([])
    latest.save_with(again)
    assert on_disk(folder) == {}


def test_an_end_during_a_visit_is_not_undone_by_it(folder, make):  # noqa: F811
    build = make(1)
    State(folder, refs={}, newest=build.id).save()
    visited = load(folder)
    latest = LatestBuilds(load(folder))
    latest.note([build], success(1.5))
    latest.save()
    visited.refs = {MAIN: "b"}
    latest.save_with(visited)
    assert on_disk(folder) == {MAIN: (build.id, [1.5])}
    assert load(folder).refs == {MAIN: "b"}


def test_who_notes_never_waits_for_who_writes(folder, make, monkeypatch):  # noqa: F811
    build, disk = make(1), threading.Event()
    save = State.save

    def slow(state):
        save(state)
        assert disk.wait(30)

    monkeypatch.setattr(State, "save", slow)
    state = State(folder, refs={}, newest=build.id)
    latest = LatestBuilds(state)
    saving = threading.Thread(target=latest.save_with, args=[state])
    saving.start()
    wait_for((folder / "state.json").exists)
    latest.note([build], success(2.5))
    latest.save()  # at once
    assert on_disk(folder) == {}
    disk.set()
    saving.join()
    assert on_disk(folder) == {MAIN: (build.id, [2.5])}


def test_many_ends_and_visits_at_once(folder, make):  # noqa: F811
    State(folder, refs={}).save()
    latest = LatestBuilds(load(folder))
    builds = [make(n, ref=f"refs/heads/{n}") for n in range(1, 41)]

    def visit():
        for n in range(20):
            state = load(folder)
            state.refs = {f"refs/heads/{n}": "c"}
            latest.save_with(state)

    visits = threading.Thread(target=visit)
    visits.start()
    for build in builds:
        latest.note([build], success(1.0))
        latest.save()
    visits.join()
    assert {ref: entry[0] for ref, entry in on_disk(folder).items()} == {
        build.ref: build.id for build in builds
    }
    assert all(entry[1] == [1.0] for entry in on_disk(folder).values())
    assert (load(folder).refs or {})["refs/heads/19"] == "c"


@pytest.mark.parametrize("text", ["", "{", '{"format": 2, "refs": {}}', "[]"])
def test_what_is_no_state_of_ours_is_left_alone(folder, make, text):  # noqa: F811
    build = make(1)
    (folder / "state.json").write_text(text)
    latest = LatestBuilds(State(folder))
    latest.note([build])
    latest.save()
    assert (folder / "state.json").read_text() == text


def test_a_state_of_an_older_version_has_none(folder):
    State(folder, refs={MAIN: "a"}, seen={}).save()
    document = json.loads((folder / "state.json").read_text())
    del document["latest"]
    (folder / "state.json").write_text(json.dumps(document))
    assert load(folder).latest == {} and load(folder).refs == {MAIN: "a"}


def test_what_was_built_last(folder, make):  # noqa: F811
    latest: Mapping[str, Latest] = {}
    for n, status in enumerate(["success", "error", "failure", "skipped", "cancelled"]):
        build = make(n + 1, commit=str(n) * 40)
        latest = noted(latest, build, {"status": status})
        build.close(status, "")
    assert latest[MAIN].built == "2" * 40
    assert load(folder).latest[MAIN].built == "2" * 40  # were the file lost


def test_what_was_staged_and_not_saved_counts(folder, make):  # noqa: F811
    State(folder, refs={}, seen={}).save()
    make(1)
    trigger = make(2, source="trigger", ref="refs/tags/v1")
    make(3, source="manual", ref="refs/heads/mine")
    assert load(folder).latest.keys() == {MAIN, "refs/tags/v1"}
    assert load(folder).latest["refs/tags/v1"].build == trigger.id
