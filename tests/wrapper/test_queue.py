"""What the queue writes down of a build: its start, and its end exactly once."""

import json
import threading
from types import SimpleNamespace

import pytest

from tests.support.parts import wait_for
from tests.wrapper.test_directory import make  # noqa: F401
from wrapper.builds import journal, skips, slots, statuses
from wrapper.builds.directory import Build, now
from wrapper.builds.ending import cancel
from wrapper.builds.queue import Queue
from wrapper.builds.statuses import Statuses

PUSHED = ["r:1/o/n:1.2.3@sha256:abc", "r:1/o/n:latest@sha256:abc"]


class Death(BaseException):
    """The process ends, between two writes."""


class Ends:
    """In the pipeline's place."""

    def __init__(self, build):
        self.build = build

    def run(self):
        finish(self.build)
        return 0


def finish(build, **about):
    result = {"status": "success", "version": "1.2.3", "pushed": PUSHED}
    result |= {"finished_at": now()} | about
    (build.path / "result.json").write_text(json.dumps(result))


@pytest.fixture
def start(tmp_path, monkeypatch):
    """start() -> a new process's queue; .notes: what it was told of builds."""
    monkeypatch.setattr("wrapper.builds.queue.call", lambda *_, **__: "")
    token = SimpleNamespace(value=lambda: "")
    running = []

    def start():
        notes: list[tuple[Build, object]] = []
        ended: list[tuple[Build, int]] = []
        known = Statuses(SimpleNamespace(token=token))  # type: ignore[arg-type]
        queue = Queue(
            tmp_path / "builds",
            known,
            lambda build, code: ended.append((build, code)),
            lambda build, result: notes.append((build, result)),
            Ends,  # type: ignore[arg-type]
        )
        running.append(known)
        return SimpleNamespace(queue=queue, notes=notes, ended=ended, statuses=known)

    yield start
    for one in running:
        one.stop()


def story(build):
    path = build.path.parents[2] / "journal.jsonl"
    lines = map(json.loads, path.read_text().splitlines()) if path.exists() else ()
    return [line for line in lines if line["build"] == build.id]


def said(build):
    return [line["what"] for line in story(build)]


def test_start_end_and_what_was_published_are_written(make, start):  # noqa: F811
    build = make(1)
    process = start()
    process.queue.look(1)
    wait_for(lambda: process.ended)
    process.queue.ended(*process.ended[0])
    process.queue.look(1)
    process.queue.look(1)
    assert said(build) == ["started", "finished", "pushed"]
    started, finished, pushed = story(build)
    assert started["why"].endswith(" s in the queue")
    assert finished["why"] == "success: 1.2.3"
    assert pushed["why"] == "1.2.3 as 1.2.3, latest"
    assert (pushed["pushed"], pushed["version"]) == (PUSHED, "1.2.3")
    assert [(b.id, bool(r)) for b, r in process.notes] == [
        (build.id, False),
        (build.id, True),
    ]


@pytest.mark.parametrize(
    "text",
    [
        '{"pushed": 7}',
        '{"pushed": {"a": 1}, "status": []}',
        "\xff",
        '{"finished_at": 3}',
    ],
)
def test_an_odd_result_holds_up_no_other_build(make, start, text):  # noqa: F811
    odd = make(1)
    (odd.path / "result.json").write_text(text)
    other = make(2)
    other.path.rename(other.path.with_name("20260231T051002.000000Z-1a2b3c4"))
    process = start()
    process.queue.look(1)
    assert said(odd) == ["finished"]
    assert not process.queue.idle()


def test_what_goes_on_after_an_interruption_says_so(make, start):  # noqa: F811
    build = make(1)
    (build.path / "console.log").touch()
    start().queue.look(1)
    assert story(build)[0]["why"] == "again, as it was interrupted"


def test_a_failure_that_pushed_something_says_what(make, start):  # noqa: F811
    build = make(1)
    finish(build, status="error", failed_step="tag-push", pushed=PUSHED[:1])
    start().queue.look(0)
    assert said(build) == ["finished", "pushed"]
    other = make(2)
    finish(other, status="failure", pushed=[])
    start().queue.look(0)
    assert said(other) == ["finished"]


@pytest.mark.parametrize("writes", range(7))
def test_an_end_is_written_once_wherever_the_process_dies(
    make,  # noqa: F811
    start,
    monkeypatch,
    writes,
):
    """It dies before or after each of its writes: two lines, and the mark."""
    build = make(1)
    finish(build)
    count = 0

    def mortal(write):
        def wrapped(*args, **kwargs):
            nonlocal count
            if threading.current_thread() is not threading.main_thread():
                return write(*args, **kwargs)  # of what has nothing to do with it
            for act in (lambda: None), (lambda: write(*args, **kwargs)):
                act()
                if count == writes:
                    raise Death
                count += 1

        return wrapped

    with monkeypatch.context() as patch:
        patch.setattr(journal, "tell", mortal(journal.tell))
        patch.setattr(statuses, "_write", mortal(statuses._write))
        try:
            start().queue.look(0)
        except Death:
            pass
        else:
            assert writes == 6
    for _ in range(2):
        start().queue.look(0)
    assert said(build) == ["finished", "pushed"]


def test_a_build_that_ends_again_is_written_again(make, start):  # noqa: F811
    """A person took an earlier result away, and ran the pipeline once more."""
    build = make(1)
    finish(build, finished_at="2026-11-22T05:10:00Z")
    process = start()
    process.queue.look(0)
    process.statuses.flush(5)  # it writes no more, as if it were gone
    (build.path / "result.json").unlink()
    again = start()
    again.queue.look(0)
    assert said(build) == ["finished", "pushed"]
    finish(build, finished_at="2036-11-22T05:10:00Z")
    again.queue.look(0)
    assert said(build) == ["finished", "pushed"] * 2


@pytest.mark.parametrize("file", ["build.json", "result.json"])
def test_a_build_of_a_newer_version_is_left_alone(make, start, file, capsys):  # noqa: F811
    build = make(1)
    if file == "build.json":
        about = json.loads((build.path / file).read_text())
        (build.path / file).write_text(json.dumps(about | {"format": 2}))
    else:
        finish(build, format=2)
    files = sorted(path.name for path in build.path.iterdir())
    assert cancel(build) == (1, f"{build.path} was written by a newer version", None)
    assert sorted(path.name for path in build.path.iterdir()) == files
    process = start()
    process.queue.look(1)
    assert (said(build), process.notes, process.queue.idle()) == ([], [], True)
    assert not (build.path / "status").exists()


def test_what_is_superseded_is_written_once(make, start, monkeypatch):  # noqa: F811
    monkeypatch.setattr(skips, "_ask_script", lambda build: (skips.Answer.NO, ""))
    old, new = make(1), make(2)
    process = start()
    process.queue.look(0)
    wait_for(process.queue.idle)
    process.queue.look(0)
    for _ in range(3):
        start().queue.look(0)
    assert said(old) == ["superseded"] and said(new) == []
    assert story(old)[0]["why"] == f"superseded: by 1a2b3c4, build {new.id}"


def test_steps_by_hand_and_builds_share_the_places(make, start, tmp_path):  # noqa: F811
    build = make(1)
    places = [slots.take(tmp_path / "builds", 2) for _ in range(2)]
    process = start()
    process.queue.look(2)
    assert (said(build), process.queue.restless) == ([], True)
    for place in filter(None, places):
        slots.give_back(place)
    process.queue.look(1)
    wait_for(lambda: process.ended)
    assert slots.take(tmp_path / "builds", 1) is None, "the build has the place"
    process.queue.ended(*process.ended[0])
    again = slots.take(tmp_path / "builds", 1)
    assert again is not None
    slots.give_back(again)
