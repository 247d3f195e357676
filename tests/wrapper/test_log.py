"""The console of a build: whole, in part, and as it grows."""

import json
import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from tests.support.parts import ROOT, wait_for
from tests.wrapper.test_directory import make  # noqa: F401
from tests.wrapper.test_records import STEPS
from wrapper.builds.lock import lock
from wrapper.commands import log


@pytest.fixture
def build(make):  # noqa: F811
    return make(1)


def run(build, *what, follows=False, step=None, failed=False):
    return log.run(build.path.parents[2], [*what], follows, step, failed)


def written(build, text):
    (build.path / "console.log").write_bytes(text)


def end(build, **about):
    result = {"status": "failure", "exit_code": 1, "failed_step": "build"} | about
    (build.path / "result.json").write_text(json.dumps(result))


def test_it_is_printed_without_what_controls_a_terminal(build, capfd):
    assert run(build) == 2  # nothing has run
    assert run(build, build.id) == 1
    assert "has not begun: queued" in capfd.readouterr().err
    written(build, b"a\x1b[31mred\x1b[0m\x1b[2J\xff\nno end")
    assert run(build) == 0
    said = capfd.readouterr()
    assert said.out == "ared\ufffd\nno end"
    assert said.err == f"== {build.path}/console.log\n"


def test_of_one_step(build, capfd):
    written(build, b"x" * 40 + b"of clone\n" + b"x" * 71 + b"of npm\n")
    (build.path / "steps").write_text(STEPS.replace("\t90\n", "\t49\n"))
    assert run(build, build.id, step="clone") == 0
    assert capfd.readouterr().out == "of clone\n"
    assert run(build, build.id, step="npm-install") == 0
    assert capfd.readouterr().out == "of npm\n"
    assert run(build, build.id, step="build") == 1
    assert "no step build (it has: clone, npm-install)" in capfd.readouterr().err


def test_the_failing_lines_and_some_around_them(build, capfd):
    lines = [b"line %d\n" % number for number in range(1, 40001)]
    written(build, b"".join(lines))
    wanted = [20000, 20003, 30000]
    failing = [
        {"line": n, "offset": sum(map(len, lines[: n - 1])), "text": "x"}
        for n in wanted
    ]
    end(build, failing=failing, message="no")
    assert run(build, build.id, failed=True) == 0
    said = capfd.readouterr()
    shown = said.out.splitlines()
    assert len(shown) == 5 + 1 + 3 + 20 + 1 + 5 + 1 + 20  # more below than above
    assert shown[0] == "  19995: line 19995" and shown[29] == "..."
    assert [row for row in shown if row.startswith(">")] == [
        f"> {number}: line {number}" for number in wanted
    ]
    assert said.err == "failure at build: no\n"
    end(build, status="success", version="1.0.0", failing=[])
    assert run(build, build.id, failed=True) == 1


@pytest.mark.parametrize(
    "about, code",
    [
        ({"status": "success"}, 0),
        ({"status": "skipped", "message": "it says so"}, 0),
        ({"status": "superseded", "message": "by 1a2b3c4"}, 0),
        ({"status": "failure", "exit_code": 1}, 1),
        ({"status": "error", "exit_code": 124}, 124),
        ({"status": "error", "exit_code": None}, 1),
        ({"status": "cancelled", "exit_code": None}, 130),
    ],
)
def test_it_is_followed_to_its_end(build, capfd, about, code):
    codes = []
    with lock(build.path / "lock"):
        written(build, b"of an earlier run, which was longer\n")
        thread = threading.Thread(
            target=lambda: codes.append(run(build, build.id, follows=True))
        )
        thread.start()
        shown = ""

        def sees(words):
            nonlocal shown
            shown += capfd.readouterr().out
            return words in shown

        wait_for(lambda: sees("which was longer\n"))
        written(build, b"anew\n")
        wait_for(lambda: sees("anew\n"))
        with (build.path / "console.log").open("ab") as file:
            file.write(b"last")
        end(build, **about)
        time.sleep(0.2)
        assert not codes  # it holds its lock
    thread.join(10)
    said = capfd.readouterr()
    assert codes == [code] and said.out == "last"
    assert (about.get("message") or "") in said.err


def test_one_that_waits_for_no_poller(build, capfd):
    assert run(build, build.id, follows=True) == 69
    assert "waits, and no poller runs" in capfd.readouterr().err


def test_ctrl_c_ends_the_looking_alone(build):
    written(build, b"it runs\n")
    config = build.path.parents[3] / "config.json"
    config.write_text('{"registry": "a:1", "repositories": {}}')
    command = [sys.executable, "-m", "wrapper", "log", "-f", "--config", config]
    with (
        lock(build.path / "lock"),
        subprocess.Popen(
            command,
            cwd=ROOT,
            stdout=subprocess.PIPE,
            env=os.environ | {"PYTHONUNBUFFERED": "1"},
            text=True,
        ) as process,
    ):
        assert process.stdout and process.stdout.readline() == "it runs\n"
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 130
