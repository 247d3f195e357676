"""The journal, and the story it tells."""

import json

import pytest

from tests.wrapper.test_directory import make  # noqa: F401
from wrapper.builds import journal
from wrapper.commands import why

COMMIT = "1a2b3c4d" * 5


@pytest.fixture
def folder(tmp_path):
    return tmp_path


def story(folder, asked, capsys):
    code = why.run(folder, asked)
    said = capsys.readouterr()
    return code, said.out.splitlines() if code == 0 else said.err


def test_a_line_for_each_decision(folder, make, capfd):  # noqa: F811
    journal.tell(folder, "o/n", "skipped", "no reason", "refs/heads/a", COMMIT)
    build = make(1)
    journal.tell(folder, "o/n", "staged", "event 7", build=build)
    one, two = map(json.loads, (folder / "journal.jsonl").read_text().splitlines())
    keys = ["time", "repository", "ref", "commit", "build", "what", "why"]
    assert list(one) == list(two) == keys
    assert one["build"] is None and two["build"] == build.id
    assert two["commit"] == build.commit
    said = capfd.readouterr().out.splitlines()
    assert said[0].endswith(" o/n: skipped a at 1a2b3c4: no reason")


@pytest.mark.parametrize(
    "asked", ["1a2b", COMMIT, "1A2B3C4D", "main", "refs/heads/main", "heads/x/y"]
)
def test_a_commit_by_its_first_digits_a_branch_by_its_name(folder, asked, capsys):
    journal.tell(folder, "o/n", "noted", "one", "refs/heads/main", COMMIT)
    journal.tell(folder, "o/n", "noted", "two", "refs/heads/heads/x/y", COMMIT)
    journal.tell(folder, "o/n", "noted", "three", "refs/tags/v1", "f" * 40)
    capsys.readouterr()
    code, lines = story(folder, asked, capsys)
    assert code == 0
    expected = {"main": 1, "refs/heads/main": 1, "heads/x/y": 1}.get(asked, 2)
    assert len(lines) == expected
    assert " o/n: noted " in lines[0]


@pytest.mark.parametrize("asked", ["v1", "refs/tags/v1", "ffff"])
def test_a_tag(folder, asked, capsys):
    journal.tell(folder, "o/n", "noted", "three", "refs/tags/v1", "f" * 40)
    code, [line] = story(folder, asked, capsys)
    assert code == 0 and line.endswith("o/n: noted tags/v1 at fffffff: three")


def test_a_build_by_its_id(folder, make, capsys):  # noqa: F811
    build = make(1)
    journal.tell(folder, "o/n", "staged", "x", build=build)
    assert story(folder, build.id, capsys)[0] == 0


@pytest.mark.parametrize("asked", ["1a2", "2b3c", "nothing", ""])
def test_what_nobody_knows(folder, asked, capsys):
    assert why.run(folder, asked) == 1
    journal.tell(folder, "o/n", "noted", "one", "refs/heads/main", COMMIT)
    capsys.readouterr()
    code, said = story(folder, asked, capsys)
    assert code == 1 and f"does not know {asked}" in said


def test_half_a_line_spoils_no_other(folder, capsys):
    path = folder / "journal.jsonl"
    path.write_text('{"time": "20\n[1]\n{}\nnull\n')
    journal.tell(folder, "o/n", "noted", "one", "refs/heads/main", COMMIT)
    capsys.readouterr()
    code, lines = story(folder, "main", capsys)
    assert code == 0 and len(lines) == 1


def test_names_cannot_control_the_terminal(folder, capsys):
    journal.tell(folder, "o/n", "noted", "x\ny", "refs/heads/a\x1b[2Jb\udcff", COMMIT)
    capsys.readouterr()
    _, [line] = story(folder, "1a2b3", capsys)
    assert line.endswith("noted ab? at 1a2b3c4: x y")


def test_a_journal_that_cannot_be_written_stops_nothing(folder, capfd):
    (folder / "journal.jsonl").mkdir()
    journal.tell(folder, "o/n", "noted", "one")
    assert "the journal cannot be written: Is a directory" in capfd.readouterr().out
