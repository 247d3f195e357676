"""The live log: from whatever place, through whatever happens, no gap and no repeat."""

import fcntl
import json
import math
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import requests

from tests.support.parts import wait_for
from tests.support.web import Api, serving
from wrapper.builds.directory import Build
from wrapper.web import live, log
from wrapper.web.reader import Reader, Start


class Follower(threading.Thread):
    """Reads a build's live log as a browser does, and puts the text together."""

    def __init__(self, api: Api, path: str, query: str = "tail=all") -> None:
        super().__init__(daemon=True)
        self.url = f"{api.url}/api/v1{path}/log/events"
        self.query, self.auth = query, api.session.auth
        self.parts: list[str] = []
        self.last = ""
        self.starts: list[dict[str, int]] = []
        self.steps: list[str] = []
        self.result: Any = None
        self.answers: list[int] = []
        self.enough = math.inf  # characters after which it goes away
        self.start()

    @property
    def text(self) -> str:
        return "".join(self.parts)

    def run(self) -> None:
        while self.result is None:
            try:
                self._follow()
            except requests.RequestException:
                time.sleep(0.05)  # as `retry` says, but sooner
            if self.answers[-1:] == [204] or self.enough <= len(self.text):
                return

    def _follow(self) -> None:
        headers = {"Last-Event-ID": self.last} if self.last else {}
        with requests.get(
            f"{self.url}?{self.query}",
            headers=headers,
            auth=self.auth,
            stream=True,
            timeout=30,
        ) as answer:
            self.answers.append(answer.status_code)
            for name, data, id in events(answer):
                if name == "start":
                    self.parts = []
                    self.starts.append(json.loads(data))
                elif name == "step":
                    self.steps.append(json.loads(data)["name"])
                elif name == "end":
                    self.result = json.loads(data)
                    return
                else:
                    self.parts.append(json.loads(data))
                    self.last = id
                    if self.enough < math.inf and self.enough <= len(self.text):
                        return

    def has(self, text: str) -> None:
        wait_for(lambda: self.text == text, what=f"{text!r}, not {self.text!r}")


def events(answer: requests.Response) -> Iterator[tuple[str, str, str]]:
    """Name, data and id of each."""
    rest = b""
    for chunk in answer.iter_content(None):
        *blocks, rest = (rest + chunk).split(b"\n\n")
        for block in blocks:
            about = dict(line.split(": ", 1) for line in block.decode().split("\n"))
            if "data" in about:
                yield about.get("event", ""), about["data"], about.get("id", "")


@contextmanager
def worked_on(build: Build) -> Iterator[None]:
    """Its lock is held."""
    with (build.path / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def write(build: Build, data: bytes) -> None:
    with (build.path / "console.log").open("ab") as file:
        file.write(data)


def path(build: Build) -> str:
    return f"/builds/o/n/{build.id}"


@pytest.fixture
def follow(api):
    return lambda build, query="tail=all": Follower(api, path(build), query)


def test_every_byte_and_then_the_result(folder, follow):
    build = folder.build(1, None)
    follower = follow(build)
    with worked_on(build):
        wait_for(lambda: follower.answers)
        write(build, b"first\n")
        follower.has("first\n")
        write(build, "wörld\n".encode())
        # The result is there before the last words: the lock tells that all is said.
        folder_result = {"format": 1, "status": "failure", "message": "no"}
        (build.path / "result.json").write_text(json.dumps(folder_result))
        follower.has("first\nwörld\n")
        write(build, b"last\n")
        follower.has("first\nwörld\nlast\n")
        assert follower.result is None
    follower.join(20)
    assert follower.result == folder_result
    assert follower.starts == [{"offset": 0, "size": 6}]


def texts(found: list[bytes]) -> str:
    """What events of a reader show."""
    blocks = [event.decode() for event in found if event.startswith(b"id: ")]
    return "".join(json.loads(block.partition("data: ")[2]) for block in blocks)


def test_characters_that_come_byte_by_byte_and_bytes_that_are_none(folder):
    build = folder.build(1, None, b"> ")
    reader = Reader(build, Start(0, False))
    shown = texts(reader.events(False))
    text = "€ \N{GRINNING FACE} ä"
    for byte in text.encode() + b"\xff\xfe!":
        write(build, bytes([byte]))
        shown += texts(reader.events(False))
    assert shown == f"> {text}\ufffd\ufffd!"
    write(build, b"\xe2\x82")
    assert texts(reader.events(False)) == ""
    # With nothing more to come half a character is none.
    assert texts(reader.events(True)) == "\ufffd"
    reader.close()


def test_a_log_that_is_begun_anew_is_told(folder, follow):
    build = folder.build(1, None, b"the same beginning\nfirst run\n" + b"x" * 1000)
    follower = follow(build)
    wait_for(lambda: len(follower.text) == 1029)
    # In one moment it is cut and has more than before.
    (build.path / "console.log").write_bytes(b"the same beginning\n" + b"y" * 5000)
    follower.has("the same beginning\n" + "y" * 5000)
    (build.path / "console.log").write_bytes(b"short")
    follower.has("short")
    assert [start["offset"] for start in follower.starts] == [0, 0, 0]


def test_who_comes_back_goes_on_where_it_was(api, folder):
    build = folder.build(1, None, b"a" * 300)
    first = Follower(api, path(build))
    first.enough = 300
    first.join(20)
    write(build, b"b" * 10)
    second = Follower(api, path(build), f"from={first.last}")
    second.has("b" * 10)
    assert second.starts == []
    wrong = Follower(api, path(build), "from=300.00000000")
    wrong.has("a" * 300 + "b" * 10)
    assert wrong.starts == [{"offset": 0, "size": 310}]
    beyond = Follower(api, path(build), "from=9999.00000000&tail=0")
    beyond.has("a" * 300 + "b" * 10)
    (build.path / "result.json").write_text('{"format": 1, "status": "success"}')
    second.join(20)
    assert second.result["status"] == "success"
    over = Follower(api, path(build), f"from={second.last}")
    over.join(20)
    assert over.answers == [204]


def test_it_begins_with_the_tail_at_a_whole_character(folder, follow):
    build = folder.build(1, None, "€".encode() * 10)
    follower = follow(build, "tail=4")
    follower.has("€")
    assert follower.starts == [{"offset": 27, "size": 30}]
    new = follow(build, "tail=0")
    wait_for(lambda: new.starts)
    write(build, b"new")
    new.has("new")


def test_steps_are_told_as_they_begin(folder, follow):
    build = folder.build(1, None, b"== clone\n")
    steps = build.path / "steps"
    steps.write_text("begin\tclone\t2026-11-22T05:10:01.000000Z\t0\n")
    follower = follow(build)
    follower.has("== clone\n")
    with steps.open("a") as file:
        file.write("end\tclone\t2026-11-22T05:10:02.000000Z\tsuccess\t1.0\t1\t9\n")
        file.write("begin\tbuild\t2026-11-22T05:10:02.000000Z\t9\n")
    write(build, b"== build\n")
    wait_for(lambda: follower.steps == ["clone", "build"])


def test_a_server_that_dies_and_comes_back(folder):
    build = folder.build(1, None, b"line 0\n")
    with serving(folder.config) as (url, _), Api(url) as api:
        follower = Follower(api, path(build))
        follower.has("line 0\n")
        port = url.rsplit(":", 1)[1]
    write(build, b"line 1\n")
    with serving(folder.config, port=int(port)):
        follower.has("line 0\nline 1\n")
        assert len(follower.starts) == 1
        (build.path / "result.json").write_text('{"format": 1, "status": "success"}')
        follower.join(20)
        assert follower.result


def test_it_ends_at_once_with_the_server(folder):
    build = folder.build(1, None, b"x")
    with serving(folder.config) as (url, server), Api(url) as api:
        followers = [Follower(api, path(build)) for _ in range(50)]
        for follower in followers:
            follower.has("x")
            follower.enough = 0
        assert server.world.followers == 50
    wait_for(lambda: not any(follower.is_alive() for follower in followers))
    assert server.world.followers == 0


def test_there_is_an_end_to_how_many_follow(api, folder, monkeypatch):
    build = folder.build(1, None, b"x")
    monkeypatch.setattr(log, "FOLLOWERS", 1)
    follower = Follower(api, path(build))
    follower.has("x")
    refused = api.is_problem(503, "GET", f"{path(build)}/log/events")
    assert refused["retry_after"] == 10
    assert api("HEAD", f"{path(build)}/log/events").status_code == 200


def test_silence_is_filled(folder, api, monkeypatch):
    monkeypatch.setattr(live, "SILENCE", 0.1)
    build = folder.build(1, None, b"x")
    events = f"{path(build)}/log/events"
    with api.get(events, stream=True) as answer:
        lines = answer.iter_lines(1)
        assert b": still here" in (next(lines) for _ in range(20))
        assert answer.headers["X-Accel-Buffering"] == "no"
        assert answer.headers["Cache-Control"] == "no-store"


def test_a_hundred_megabytes(folder, follow):
    line = ("0123456789abcdef" * 4 + "é" * 30).encode() + b"\n"
    build = folder.build(1, None, b"")
    follower = follow(build)
    for _ in range(100):
        write(build, line * 8000)
    (build.path / "result.json").write_text('{"format": 1, "status": "success"}')
    follower.join(300)
    assert follower.text.encode() == line * 800000
