"""Rows that fit the terminal, colours on it alone."""

import fcntl
import json
import os
import pty
import re
import struct
import subprocess
import sys
import termios

import pytest

from tests.support.parts import ROOT
from tests.wrapper.test_store import finished, named
from wrapper import screen
from wrapper.builds.lock import lock

COLUMNS = 80
ESCAPE = re.compile(r"\x1b\[[\d;]*m")


@pytest.fixture
def builds(tmp_path):
    """Long names and wide letters; one build runs."""
    builds = tmp_path / "builds"
    for number in range(1, 6):
        repository = f"an-owner/{'a-long-name-' * number}"
        build = named(builds, repository, number)
        about = {"ref": f"refs/heads/feature/{'東京' * 9}", "commit": "1a2b3c4" * 6}
        (build.path / "build.json").write_text(json.dumps(about | {"source": "event"}))
        (build.path / "commit").write_text(f"Ada Lovelace\n{'é long subject ' * 9}\n")
        (build.path / "version").write_text("1.3.0-main.4.g1a2b3c4\n")
        if number < 5:
            finished(build, status="failure", failed_step="npm-install")
    (tmp_path / "config.json").write_text('{"registry": "a:1", "repositories": {}}')
    with lock(build.path / "lock"):
        yield builds


def on_a_terminal(builds, *words, **env):
    """The lines that a terminal of so many columns shows."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, COLUMNS, 0, 0))
    clean = {k: v for k, v in os.environ.items() if k not in ("BUILDS", "NO_COLOR")}
    clean = {k: v for k, v in clean.items() if k not in ("COLUMNS", "CONFIG")}
    process = subprocess.Popen(
        [sys.executable, "-m", "wrapper", *words],
        cwd=ROOT,
        stdout=theirs,
        env=clean | {"CONFIG": str(builds.parent / "config.json")} | env,
    )
    os.close(theirs)
    shown = b""
    while True:
        try:
            chunk = os.read(ours, 1 << 16)
        except OSError:  # nobody has it open any more
            break
        if not chunk:
            break
        shown += chunk
    os.close(ours)
    assert process.wait() == 0
    return shown.decode().splitlines()


@pytest.mark.parametrize("words", [["status"], ["status", "--all"]])
def test_no_row_is_wrapped(builds, words):
    shown = on_a_terminal(builds, *words)
    assert shown[0].startswith("no poller runs")
    for row in shown:
        assert screen.width(ESCAPE.sub("", row)) <= COLUMNS, row
    rows = [row for row in shown if not row.startswith(("no poller", "    "))]
    assert len(rows) == 6
    assert "\x1b[33mrunning" in rows[1] and "\x1b[31mfailu" in rows[2]
    assert "…" in rows[1]
    if words == ["status"]:
        assert re.search(r"\d+ (h|d) ago", rows[2])


def test_without_colours(builds):
    assert "\x1b" not in "".join(on_a_terminal(builds, "status", NO_COLOR="1"))


def test_elsewhere_rows_are_whole(builds):
    config = str(builds.parent / "config.json")
    done = subprocess.run(
        [sys.executable, "-m", "wrapper", "status", "--config", config],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert "\x1b" not in done.stdout and "…" not in done.stdout
    assert "a-long-name-" * 5 in done.stdout and "2026-11-26T05:10:42Z" in done.stdout


@pytest.mark.parametrize(
    "seconds, text",
    {0: "0 s", 77: "77 s", 180: "3 min", 7200: "2 h", 86400: "24 h", -5: "0 s"}.items(),
)
def test_spans(seconds, text):
    assert screen.span(seconds) == text
