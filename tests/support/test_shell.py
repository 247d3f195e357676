"""How the shell files are written: narrow lines, and a run bit where one is meant."""

import os
import subprocess

import pytest

from tests.support.parts import ROOT

COLUMNS = 100
FOLDERS = ("scripts", "tests/support", "tests/bench", ".ci")


def is_shell(text: str) -> bool:
    first = text.partition("\n")[0]
    return first.startswith("# shellcheck shell=bash") or (
        first.startswith("#!") and first.endswith("sh")
    )


def shell_files() -> dict[str, str]:
    """Path and text of each that git has, or would add."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.check_output([*command, "--", *FOLDERS], cwd=ROOT, text=True)
    texts = {
        path: (ROOT / path).read_text()
        for path in listed.splitlines()
        if (ROOT / path).is_file()
    }
    return {
        path: text
        for path, text in texts.items()
        if path.endswith((".sh", ".bash")) or is_shell(text)
    }


FILES = shell_files()


def test_there_are_files_to_look_at():
    assert {"scripts/pipeline.sh", "tests/support/run", ".ci/run"} <= FILES.keys()


@pytest.mark.parametrize("path", FILES)
def test_no_line_is_wider_than_a_reader_s_window(path):
    lines = enumerate(FILES[path].splitlines(), 1)
    assert not [f"{path}:{n}" for n, line in lines if len(line) > COLUMNS]


@pytest.mark.parametrize("path", FILES)
def test_what_is_run_bears_a_run_bit_and_what_is_sourced_does_not(path):
    assert os.access(ROOT / path, os.X_OK) == FILES[path].startswith("#!")
