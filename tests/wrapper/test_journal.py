"""The journal: every decision, on a line of its own."""

import json
import os

import pytest

from tests.wrapper.test_directory import make  # noqa: F401
from wrapper.builds import journal
from wrapper.commands import why

COMMIT = "1a2b3c4d" * 5


@pytest.fixture
def folder(tmp_path):
    return tmp_path


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


def test_a_journal_that_cannot_be_written_stops_nothing(folder, capfd):
    (folder / "journal.jsonl").mkdir()
    journal.tell(folder, "o/n", "noted", "one")
    assert "the journal cannot be written: Is a directory" in capfd.readouterr().out


def test_more_can_be_said_of_a_decision(folder, make):  # noqa: F811
    journal.tell(folder, "o/n", "pushed", "1.2.3", build=make(1), version="1.2.3")
    [line] = journal.read(folder)
    assert list(line)[-2:] == ["why", "version"] and line["version"] == "1.2.3"


def test_lines_that_are_none_of_ours_are_passed_over(folder):
    path = folder / "journal.jsonl"
    assert list(journal.read(folder)) == []
    path.write_bytes(b'{"time": "20\n[1]\n{}\nnull\n\xff\n' + b"[" * 9999 + b"\n")
    journal.tell(folder, "o/n", "noted", "one")
    assert [line["why"] for line in journal.read(folder)] == ["one"]


def test_what_is_recorded_of_a_build_since_its_start(folder, make):  # noqa: F811
    one, two = make(1), make(2)
    assert journal.recorded(folder, one, "") == set()
    (folder / "journal.jsonl").touch()
    assert journal.recorded(folder, one, "") == set()
    for build, *whats in (one, "staged", "finished"), (two, "started", "superseded"):
        for what in whats:
            journal.tell(folder, "o/n", what, f"not [{one.id}]", build=build)
    assert journal.recorded(folder, one, "") == {"finished"}
    assert journal.recorded(folder, two, "2020-01-01T00:00:00Z") == {"superseded"}
    assert journal.recorded(folder, one, "2999-01-01T00:00:00Z") == set()
    journal.tell(folder, "o/n", "started", "again", build=one)
    assert journal.recorded(folder, one, "") == set()
    with (folder / "journal.jsonl").open("ab") as file:
        file.write(b'{"what": "finished", "build": "' + one.id.encode())  # cut off
    assert journal.recorded(folder, one, "") == set()


def test_a_full_journal_is_put_aside_and_read_all_the_same(folder, make, monkeypatch):  # noqa: F811
    monkeypatch.setattr(journal, "FULL", 1000)
    build = make(1)
    journal.tell(folder, "o/n", "started", "first", build=build)
    journal.tell(folder, "o/n", "finished", "first", build=build)
    whys = ["first", "first"]
    while not (folder / "journal.jsonl.1").exists():
        whys.append(f"{len(whys)}" * 20)
        journal.tell(folder, "o/n", "noted", whys[-1])
    assert not (folder / "journal.jsonl").exists()
    assert [line["why"] for line in journal.read(folder)] == whys
    assert journal.recorded(folder, build, "") == {"finished"}
    journal.tell(folder, "o/n", "pushed", "last", build=build)
    assert [line["why"] for line in journal.read(folder)] == [*whys, "last"]
    assert journal.recorded(folder, build, "") == {"finished", "pushed"}
    for number in range(30):
        journal.tell(folder, "o/n", "noted", f"{number:200}")
    assert {p.name for p in folder.glob("journal*")} <= {
        "journal.jsonl",
        "journal.jsonl.1",
    }
    assert all(p.stat().st_size < 1500 for p in folder.glob("journal*"))


def test_processes_that_find_it_full_put_it_aside_once(folder, monkeypatch):
    """The second has opened what the first has put aside: it is not to be lost."""
    path = folder / "journal.jsonl"
    path.write_text(
        '{"time": "", "repository": "o/n", "what": "noted", "why": "old"}\n'
    )
    late = os.open(path, os.O_RDONLY)
    journal._put_aside(folder, late)
    journal.tell(folder, "o/n", "noted", "new")
    journal._put_aside(folder, late)
    os.close(late)
    assert [line["why"] for line in journal.read(folder)] == ["old", "new"]
    assert path.exists()


def test_why_reads_both(folder, monkeypatch, capsys):
    monkeypatch.setattr(journal, "FULL", 1)
    journal.tell(folder, "o/n", "noted", "old", "refs/heads/a", COMMIT)
    monkeypatch.setattr(journal, "FULL", 1 << 20)
    journal.tell(folder, "o/n", "noted", "new", "refs/heads/a", COMMIT)
    capsys.readouterr()
    assert why.run(folder, [COMMIT]) == 0
    old, new = capsys.readouterr().out.splitlines()
    assert old.endswith("old") and new.endswith("new")
