"""People are told of verdicts, whatever becomes of us and of who is to be told."""

import json
import os
import re
import time
from types import SimpleNamespace

import pytest

from tests.support.parts import ROOT, wait_for
from tests.support.receiver import SECRET
from tests.wrapper.test_directory import make  # noqa: F401
from wrapper.builds import deliver, illness, notices
from wrapper.builds.directory import builds_in
from wrapper.builds.illness import ServerNotice
from wrapper.builds.notices import Notices
from wrapper.commands import notify
from wrapper.config import load as config

README = ROOT / "README.md"
RED = {"status": "failure", "failed_step": "unit-test", "message": "no"}
GREEN = {"status": "success", "failed_step": None, "message": None}


@pytest.fixture
def file(tmp_path, monkeypatch):
    """file(**targets): what NOTIFY_FILE names."""
    monkeypatch.setenv("NOTIFY_FILE", str(tmp_path / "targets.json"))
    monkeypatch.setattr(notices, "RETRY", 0.02)
    monkeypatch.setattr(notices, "SELDOM", 0.1)

    def file(**targets):
        (tmp_path / "targets.json").write_text(json.dumps(targets))

    return file


@pytest.fixture
def start(tmp_path):
    """start() -> Notices of a new process."""
    (tmp_path / "builds").mkdir()
    running = []

    def start():
        running.append(Notices(tmp_path / "builds"))
        return running[-1]

    yield start
    for one in running:
        one.stop()


@pytest.fixture
def ends(make):  # noqa: F811
    """ends(NUMBER, RESULT, **notify) -> the build, and its result."""

    def ends(number, result, ref="refs/heads/main", **notify):
        build = make(number, ref=ref)
        for key, names in ({"to": ["team"]} | notify).items():
            file = build.path / "settings/notify" / key
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text("".join(f"{name}\0" for name in names))
        result = {"finished_at": f"2026-11-22T05:11:{number:02}Z"} | result
        (build.path / "result.json").write_text(json.dumps(result))
        return build, result

    return ends


def test_a_story_of_ten_builds(tmp_path, file, receiver, start, ends):
    """The receiver is down half of the time, and the poller is killed twice."""
    file(team={"url": receiver.url, "secret": SECRET})
    story = [
        GREEN,
        RED,  # broken
        RED,
        RED | {"message": "no, otherwise"},  # changed
        {"status": "cancelled", "message": "by hand"},
        GREEN
        | {"version": "1.0.0", "pushed": ["r/o/n:1.0.0@sha256:a"]},  # fixed, released
        GREEN,
        {"status": "skipped"},
        {"status": "superseded"},
        GREEN | {"version": "1.0.1-main.1", "pushed": ["r/o/n:1.0.1-main.1@sha256:b"]},
    ]
    told = start()
    for number, result in enumerate(story, 1):
        receiver.status = 503 if number % 2 == 0 else 200
        told.note(*ends(number, result))
        if number in (4, 6):  # killed, right after it was written down
            told.stop()
            told = start()
            told.note(*newest(tmp_path))
    receiver.status = 200
    wait_for(lambda: len(set(m["id"] for m in receiver.got)) == 4)
    wait_for(lambda: not list(tmp_path.glob("builds/o/n/.owed/*")))
    ids = dict.fromkeys(message["id"] for message in receiver.got)
    once = [next(m for m in receiver.got if m["id"] == id) for id in ids]
    assert [m["event"] for m in once] == ["broken", "changed", "fixed", "released"]
    broken = once[0]
    assert broken["format"] == 1 and broken["url"] is None
    assert broken["title"] == "o/n main is broken: unit-test"
    assert broken["text"] == "no"
    assert broken["build"]["failed_step"] == "unit-test"
    assert broken["previous"]["status"] == "success"


def newest(tmp_path):
    build = builds_in(tmp_path / "builds/o/n")[-1]
    return build, build.result()


@pytest.mark.parametrize("status, final", [(400, True), (301, True), (429, False)])
def test_what_is_refused_for_good_is_given_up(
    tmp_path, file, receiver, start, ends, status, final
):
    file(team={"url": receiver.url, "secret": SECRET})
    receiver.status = status
    start().note(*ends(1, RED))
    if final:
        wait_for(lambda: not list(tmp_path.glob("builds/o/n/.owed/*")))
        [line] = (tmp_path / "builds/journal.jsonl").read_text().splitlines()
        assert f"team was never told of broken: it answers {status}" in line
        assert receiver.asked == 1
    else:
        wait_for(lambda: receiver.asked > 2)
        receiver.status = 200
        wait_for(lambda: receiver.events() == ["broken"])


def test_one_that_is_down_or_slow_holds_up_no_other(
    tmp_path, file, receiver, start, ends, monkeypatch
):
    monkeypatch.setattr(deliver, "LIMIT", 0.2)
    got = tmp_path / "got"
    file(
        down={"url": "http://127.0.0.1:1/"},
        slow={"url": receiver.url, "secret": SECRET},
        mail={"command": ["bash", "-c", f"cat >{got}"]},
        odd={"neither": 1},
    )
    receiver.delay = 1.0
    to = ["down", "slow", "none", "odd", "mail"]
    start().note(*ends(1, RED, to=to, on=["broken"]))
    wait_for(lambda: got.exists() and got.read_text().endswith("}"))
    assert json.loads(got.read_text())["event"] == "broken"
    receiver.delay = 0.0
    wait_for(lambda: "broken" in receiver.events())


def test_only_what_is_wanted_is_told(tmp_path, file, receiver, start, ends):
    file(team={"url": receiver.url, "secret": SECRET})
    told = start()
    told.note(*ends(1, RED, on=["fixed"]))
    told.note(*ends(2, RED, ref="refs/heads/other", branches=["main"]))
    told.note(*ends(3, GREEN))
    wait_for(lambda: receiver.events() == ["fixed"])
    told.note(*ends(4, RED, ref="refs/heads/x", branches=["x"]))
    wait_for(lambda: receiver.events() == ["fixed", "broken"])


def test_an_older_commits_build_is_no_verdict(tmp_path, file, receiver, start, ends):
    file(team={"url": receiver.url, "secret": SECRET})
    told = start()
    told.note(*ends(2, GREEN))
    told.note(*ends(1, RED))
    told.note(*ends(3, RED))
    wait_for(lambda: receiver.events() == ["broken"])


def test_of_the_server_itself_once_ill_and_once_well(
    tmp_path, file, receiver, start, configure, monkeypatch
):
    file(team={"url": receiver.url, "secret": SECRET})
    clock = [1000.0]
    now = SimpleNamespace(monotonic=lambda: clock[0], time=time.time)
    monkeypatch.setattr(illness, "time", now)
    wish = {"to": ["team"], "on": ["server", "broken"]}
    two = {"o/a": {"notify": wish}, "o/b": {"notify": wish | {"on": ["fixed"]}}}
    poll = {"interval": 10, "sweep": 100}
    settings = config.load(str(configure(repositories=two, poll=poll)))
    seen = {"asked": None, "compared": time.time(), "interval": 10, "trouble": ""}

    def looks(seconds, host=(), notice=None, **repository):
        clock[0] += seconds
        one = {"o/a": seen | repository}
        notice.look(settings, {"host": list(host), "repositories": one})

    told = start()
    first = ServerNotice(tmp_path / "builds", told.tell_of_server)
    looks(0, ["the engine is away"], first)
    looks(29, ["the engine is away"], first)
    looks(1, [], first)  # over before anybody needs to know
    looks(9, [], first, trouble="GitHub answers 500")
    looks(30, ["the engine is away"], first, trouble="GitHub answers 500")
    looks(30, ["the engine is away"], first)
    second = ServerNotice(tmp_path / "builds", told.tell_of_server)  # a new process
    looks(60, ["the engine is away"], second)
    looks(1, [], second)
    looks(60, [], second)
    owed = tmp_path / "builds/.owed"
    wait_for(lambda: receiver.got and not list(owed.iterdir()))
    assert receiver.events() == ["server"] * 3
    github, ill, well = receiver.got
    assert github["title"].endswith(" is ill: o/a: GitHub answers 500")
    assert github["text"].splitlines()[0] == "nothing starts: the engine is away"
    assert ill["title"].endswith(" is ill: nothing starts: the engine is away")
    assert well["title"].endswith(" is well again") and ill["build"] is None
    assert [p.name for p in (tmp_path / "builds").iterdir()] == [".owed"]
    assert config.wanted(settings, "server") == ["team"]


def test_a_target_is_tried(tmp_path, file, receiver, capsys, monkeypatch):
    file(team={"url": receiver.url, "secret": SECRET}, bad={"command": ["false"]})
    assert notify.run(tmp_path, "team") == 0
    assert receiver.events() == ["test"]
    assert notify.run(tmp_path, "none") == notify.run(tmp_path, "bad") == 1
    monkeypatch.delenv("NOTIFY_FILE")
    assert notify.run(tmp_path, "team") == 1
    said = capsys.readouterr().err
    assert "NOTIFY_FILE names no target none" in said
    assert "bad: false ends with 1" in said
    assert "NOTIFY_FILE is not set" in said


def test_the_lines_of_the_readme(tmp_path, file, receiver, monkeypatch):
    [text] = re.findall(
        r"```json\n(\{\n  \"team\".*?)```", README.read_text(), re.DOTALL
    )
    text = re.sub(r"https://(hooks.slack|ntfy)[^ \"]*", receiver.url, text)
    file(**json.loads(text))
    mail = tmp_path / "bin/sendmail"
    mail.parent.mkdir()
    mail.write_text(f'#!/bin/sh\n{{ echo "$@"; cat; }} >{tmp_path}/mail\n')
    mail.chmod(0o755)
    monkeypatch.setenv("PATH", f"{mail.parent}:{os.environ['PATH']}")
    said = "docker-build-server: test", "This is only a test."
    for target in "slack", "ntfy", "mail":
        assert notify.run(tmp_path, target) == 0, target
    slack, ntfy = receiver.bodies
    assert json.loads(slack) == {"text": "\n".join(said)}
    assert ntfy == "\n".join([*said, ""])
    wanted = f"team@example.com\nSubject: {said[0]}\n\n{said[1]}\n"
    assert (tmp_path / "mail").read_text() == wanted
