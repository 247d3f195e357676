"""What is asked of the poller, and what it answers."""

import json
import os
import threading

import pytest

from tests.support.parts import wait_for
from wrapper.builds import inbox, requests
from wrapper.builds.inbox import Inbox
from wrapper.builds.lock import lock
from wrapper.builds.requests import Answer, Refused, ask, leave, read_answer, waits


class Side:
    """The poller's side, with a thread that looks; what it was asked."""

    def __init__(self, builds):
        self.asked = []
        self.calls = []
        self.inbox = Inbox(builds, self._perform, self._later)
        self.folder = self.inbox.open()

    def _perform(self, request):
        self.asked.append(request)
        if request.what == "refuse":
            raise Refused(1, "no, for a reason")
        if request.what == "fail":
            raise ValueError("unforeseen")
        return Answer(0, request.wanted("message"), "o/n/1")

    def _later(self, call):
        self.calls.append(call)

    def look(self):
        """Until all is done."""
        wait_for(self._is_done)

    def _is_done(self):
        while self.calls:
            self.calls.pop()()
        self.inbox.look()
        return not self.inbox.busy() and not list(self.folder.glob("*.json"))

    def left(self):
        return sorted(p.name for p in self.folder.iterdir())


@pytest.fixture
def side(tmp_path):
    with lock(tmp_path / ".lock"):
        yield Side(tmp_path)


def put(side, name, content, mode=0o644):
    path = side.folder / name
    path.write_text(content)
    path.chmod(mode)


def request(**more):
    return json.dumps({"format": 1, "what": "say", "by": "a@b", "at": "now", **more})


def test_it_is_asked_and_answered(tmp_path, side):
    done = []
    thread = threading.Thread(
        target=lambda: done.append(ask(tmp_path, "say", {"message": "hello\nyou"}))
    )
    thread.start()
    wait_for(lambda: list(side.folder.glob("*.json")))
    side.look()
    thread.join()
    assert done == [Answer(0, "hello you", "o/n/1")]
    [asked] = side.asked
    assert (asked.what, asked.by) == ("say", requests.me())
    assert side.left() == ["answers"]
    [answer] = (side.folder / "answers").iterdir()
    assert json.loads(answer.read_text()) == {
        "format": 1,
        "code": 0,
        "message": "hello you",
        "build": "o/n/1",
    }
    os.utime(answer, (0, 0))
    side.look()
    assert not answer.exists()


@pytest.mark.parametrize(
    "what, code, words",
    [
        ("refuse", 1, "no, for a reason"),
        ("fail", 1, "internal error: ValueError('unforeseen')"),
        ("say", 2, "say: message is missing"),
    ],
)
def test_what_is_not_done_is_said(tmp_path, side, what, code, words):
    name = leave(tmp_path, what, {})
    assert waits(tmp_path, name) and read_answer(tmp_path, name) is None
    side.look()
    assert read_answer(tmp_path, name) == Answer(code, words)
    assert not waits(tmp_path, name)


def test_without_a_poller_it_is_taken_back(tmp_path):
    with lock(tmp_path / ".lock"):
        side = Side(tmp_path)
    words = f"no poller runs for {tmp_path} (docker-build-server poll)"
    assert ask(tmp_path, "say", {}) == Answer(69, words)
    with lock(tmp_path / ".lock"):
        thread = threading.Thread(target=ask, args=(tmp_path, "say", {}))
        thread.start()
        wait_for(lambda: list(side.folder.glob("*.json")))
    thread.join(10)
    assert side.left() == ["answers"]


def test_a_poller_that_does_not_answer(tmp_path, side):
    answer = ask(tmp_path, "say", {}, seconds=0.1)
    assert answer.code == 75 and "has not answered within" in answer.message


@pytest.mark.parametrize(
    "content, why",
    [
        ("{", "it is not JSON"),
        ("[" * 9999, "it is not JSON"),
        ("[]", "it is not of format 1"),
        (request(format=2), "it is not of format 1"),
        ('{"format": 1}', "it does not say what is wanted"),
        (request(message="x" * 65536), "it is larger than 64 KiB"),
    ],
)
def test_what_is_no_request_goes_and_is_said(side, terminal, content, why):
    terminal.open()
    put(side, "a.json", content)
    side.look()
    assert side.left() == ["answers"] and not side.asked
    assert terminal.text.count(f"a.json is no request, and goes: {why}") == 1


def test_what_is_no_regular_file_goes(side, terminal, tmp_path):
    terminal.open()
    (tmp_path / "elsewhere").write_text(request())
    (side.folder / "link.json").symlink_to(tmp_path / "elsewhere")
    os.mkfifo(side.folder / "pipe.json")
    (side.folder / "folder.json").mkdir()
    (side.folder / "folder.json/in it").touch()
    put(side, "old.json", request())
    os.utime(side.folder / "old.json", (0, 0))
    side.look()
    assert side.left() == ["answers"] and not side.asked
    assert (tmp_path / "elsewhere").exists()
    assert "old.json is no request, and goes: it is older than an hour" in terminal.text


def test_a_half_written_request_is_left_alone_for_an_hour(side):
    put(side, ".half", request())
    side.look()
    assert side.left() == [".half", "answers"]
    os.utime(side.folder / ".half", (0, 0))
    side.look()
    assert side.left() == ["answers"]


def test_so_many_at_once(side, tmp_path, monkeypatch):
    monkeypatch.setattr(inbox, "AT_ONCE", 2)
    gate = threading.Event()
    side.inbox._perform = lambda request: gate.wait(10) and Answer(0, "done")
    names = [leave(tmp_path, "say", {}) for _ in range(3)]
    side.inbox.look()
    side.inbox.look()
    assert side.inbox.busy() and len(side.inbox._doing) == 2
    gate.set()
    side.look()
    assert {read_answer(tmp_path, name) for name in names} == {Answer(0, "done")}
