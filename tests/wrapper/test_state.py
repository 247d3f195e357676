"""What is remembered of a repository, over restarts and crashes."""

import json
import time

import pytest

from tests.wrapper.test_directory import make  # noqa: F401
from wrapper.github.events import Event
from wrapper.pushes import state
from wrapper.pushes.state import ETag, State, Waiting, from_builds, load

MAIN = "refs/heads/main"


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "builds/o/n"


def test_nothing_is_known_of_a_new_repository(folder):
    new = load(folder)
    assert (new.refs, new.seen, new.waiting) == (None, None, [])


def test_what_is_saved_is_what_is_loaded(folder):
    now = int(time.time())
    event = Event("9", now, "push", MAIN, "a" * 40, "b" * 40)
    refs = {MAIN: "a" * 40, "refs/heads/\udcff": "b" * 40}
    waiting, etag = [Waiting(1.5, event)], ETag("url", 'W/"x"', 2.5)
    saved = State(folder, "url", refs, {"1": now}, waiting, etag, "ID")
    saved.save()
    assert load(folder) == saved
    assert json.loads((folder / "state.json").read_text())["format"] == 1


def test_ids_are_kept_past_githubs_window_and_not_for_ever(folder, monkeypatch):
    now = int(time.time())
    seen = {"old": now - 32 * 86400, "in": now - 30 * 86400, "new": now}
    State(folder, seen=seen).save()
    assert set(load(folder).seen or ()) == {"in", "new"}
    monkeypatch.setattr(state, "MOST", 1)
    State(folder, seen=seen).save()
    assert set(load(folder).seen or ()) == {"new"}


def test_what_was_staged_after_the_last_saving_counts(folder, make):  # noqa: F811
    one = make(1, event="7", commit="b" * 40)
    State(folder, refs={MAIN: "b" * 40}, seen={}, newest=one.id).save()
    make(2, event="8", commit="c" * 40)
    make(3, source="sweep", ref="refs/tags/v1", commit="d" * 40)
    make(4, source="trigger", commit="e" * 40)
    make(5, source="manual", commit="e" * 40)
    known = load(folder)
    assert known.refs == {MAIN: "c" * 40, "refs/tags/v1": "d" * 40}
    assert set(known.seen or ()) == {"8"}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "7",
        "{}",
        '{"format": 1, "refs": {}}',
        '{"refs": 7, "waiting": [3]}',
        '"refs": 7',
        '"refs": {"refs/heads/main": 7}',
        '"seen": ["1"]',
        '"seen": {"1": "x"}',
        '"etag": ["", "", "x"]',
        '"newest": null',
        '"url": 3',
        '"latest": {"refs/heads/main": {"build": "x", "seconds": ["y"]}}',
        '"waiting": [[1, ["7", "x", "push", "refs/heads/main", "", ""]]]',
    ],
)
def test_a_file_that_is_not_ours_is_an_error(folder, text):
    folder.mkdir(parents=True)
    if text.startswith('"'):  # a part of one that is ours
        State(folder, refs={}, seen={}).save()
        sound = json.loads((folder / "state.json").read_text())
        text = json.dumps(sound | json.loads(f"{{{text}}}"))
    (folder / "state.json").write_text(text)
    with pytest.raises(ValueError, match=r"state\.json cannot be read"):
        load(folder)


def test_what_builds_tell_of_a_state_that_is_lost(folder, make):  # noqa: F811
    make(1, event="7", commit="b" * 40, url="u")
    marked = make(2, event="8", commit="c" * 40)
    make(3, source="sweep", event=marked.id, commit="b" * 40)
    make(4, source="sweep", ref="refs/tags/v1", commit="d" * 40, url="u")
    make(5, source="trigger", commit="e" * 40, url="u")
    make(6, source="manual", commit="f" * 40, url="other")
    known = from_builds(folder)
    assert known.refs == {MAIN: "c" * 40, "refs/tags/v1": "d" * 40}
    assert (known.partial, known.url, known.seen) == (True, "u", None)
    assert known.latest[MAIN].build > marked.id


def test_without_builds_a_state_that_is_lost_begins_anew(folder):
    assert from_builds(folder) == State(folder)
