"""What one types is answered in a terminal of 80 columns, and plainly in a pipe."""

import os
import shlex
import subprocess
import sys

import pytest

from tests.support.parts import ROOT, wait_for
from tests.support.world import weeks

COLUMNS = 80
NOWHERE = "http://127.0.0.1:1"


@pytest.fixture
def asked(builds, configure, tmp_path):
    """asked(WORDS…) -> what stands in a terminal of 80 columns, and what in a pipe;
    row by row, with escape sequences."""
    builds.mkdir()
    weeks(builds, 200)
    config = configure("o/r0", "o/r1")
    nowhere = {"GITHUB_API_URL": NOWHERE, "GITHUB_SERVER_URL": NOWHERE}
    env = os.environ | nowhere | {"TERM": "screen", "LC_ALL": "C.UTF-8"}
    env.pop("NO_COLOR", None)
    tmux = ["tmux", "-S", str(tmp_path / "tmux"), "-f", "/dev/null"]

    def asked(*words):
        command = [sys.executable, "-m", "wrapper", words[0], "--config", str(config)]
        command += words[1:]
        piped = subprocess.run(
            command, cwd=ROOT, env=env, capture_output=True, text=True
        )
        done = tmp_path / "done"
        typed = f"cd {ROOT}; {shlex.join(command)}; echo $? >{done}; exec sleep 60"
        size = ["-x", str(COLUMNS), "-y", "400"]
        subprocess.run([*tmux, "new-session", "-d", *size, typed], env=env, check=True)
        try:
            wait_for(lambda: done.exists() and done.read_text(), 120)
            rows = []
            for joined in [], ["-J"]:  # with -J what the terminal wrapped is one row
                capture = [*tmux, "capture-pane", "-p", "-e", *joined]
                shown = subprocess.run(capture, env=env, capture_output=True, text=True)
                rows.append([row.rstrip() for row in shown.stdout.rstrip().split("\n")])
        finally:
            subprocess.run([*tmux, "kill-server"], env=env, check=True)
            done.unlink(missing_ok=True)
        assert rows[0] == rows[1], "a row was wrapped"
        return rows[0], piped.stdout + piped.stderr

    return asked


@pytest.mark.parametrize(
    "words",
    [
        ["status"],
        ["status", "o/r1"],
        ["status", "--all", "-n", "9"],
        ["why", "o/r1"],
        ["why", "feature/with-a-name-that-somebody-thought-about-for-long"],
        ["images", "o/r1"],
        ["health"],
        ["doctor"],
    ],
    ids=" ".join,
)
def test_no_row_is_wrapped_and_a_pipe_has_neither_colour_nor_cut(asked, words):
    shown, piped = asked(*words)
    assert len(shown) > 1 or words[0] == "health"
    assert "\x1b" not in piped
    assert "…" not in piped


def test_the_same_words_stand_in_both(asked):
    shown, piped = asked("why", "o/r1")
    folded = " ".join(row.strip() for row in shown)
    for word in "adds up what a shopping cart holds", "which no other test does":
        assert word in folded and word in piped
    assert shown[0].split()[1:3] != piped.split()[1:3]  # an age, and a time


def test_red_is_red_on_a_terminal(asked):
    shown, _ = asked("status")
    [row] = [row for row in shown if "feature" in row]
    assert row.startswith("\x1b[31mfailure")
