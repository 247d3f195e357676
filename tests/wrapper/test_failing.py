"""The lines of console.log that say why a step failed."""

import io
import json
import re
import subprocess
import sys
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.parts import ROOT
from wrapper.builds.failing import HEAD, failing


def lines(text, begin=0, end=None, step="build"):
    end = len(text) if end is None else end
    return [tuple(line) for line in failing(io.BytesIO(text), step, begin, end)]


def test_the_last_five_lines_that_say_anything():
    text = b"".join(b"line %d\n\n" % n for n in range(1, 9))
    found = lines(text)
    assert [line[2] for line in found] == [f"line {n}" for n in range(4, 9)]
    assert [line[0] for line in found] == [7, 9, 11, 13, 15]
    for number, offset, said in found:
        assert text[offset:].startswith(said.encode() + b"\n")
        assert text[:offset].count(b"\n") == number - 1


def test_nothing_of_other_steps():
    first, second = b"one\ntwo\n", b"three\nfour"
    text = first + second + b"\nfive\n"
    end = len(first + second)
    assert lines(text, len(first), end) == [(3, 8, "three"), (4, 14, "four")]
    assert lines(text, len(first), len(first)) == []
    assert lines(text, end, 3) == []
    assert lines(text, 10**9, 2 * 10**9) == []
    assert lines(text, 0, 10**9)[-1][2] == "five"


def test_not_what_the_scripts_say_themselves():
    text = b"why\nbuild.sh: x does not build\npipeline.sh: build again in 2 s\n"
    assert lines(text) == [(1, 0, "why")]
    assert len(lines(text, step="clone")) == 2
    assert lines(b"build.sh: no Dockerfile\n \t\r\n\x1b[0m\n") == []


def test_a_text_controls_no_terminal_and_is_not_long():
    said = b"a\x1b[31mred\x1b[0m\x07\tb\rc\xff\xe2\x80\xae" + b"x" * 999 + b"\n"
    [(_, _, text)] = lines(said)
    assert text.startswith("ared b c\ufffdx") and len(text) == 300
    [(_, _, text)] = lines("ü".encode() * HEAD)
    assert text == "ü" * 300


@given(st.lists(st.sampled_from([b"a", b" ", b"\n", b"\r", b"\xff", b"bb\n"])))
def test_as_a_plain_search_finds_them(parts):
    text = b"".join(parts)
    expected, offset = [], 0
    for number, line in enumerate(text.split(b"\n"), 1):
        if line.strip():
            expected.append((number, offset))
        offset += len(line) + 1
    assert [line[:2] for line in lines(text)] == expected[-5:]


def run(*args):
    command = [sys.executable, "-P", "-m", "wrapper.builds.failing", *map(str, args)]
    command = ["bash", "-c", 'ulimit -v 200000; exec "$@"', "-", *command]  # KiB
    return subprocess.run(
        command, capture_output=True, text=True, env={"PYTHONPATH": str(ROOT)}
    )


def test_it_prints_one_line_of_json(tmp_path):
    log = tmp_path / "console.log"
    log.write_bytes(b"one\ntwo \xc3\xbc\n")
    done = run(log, "build", 4, 12)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("\n") == 1 and done.stdout.isascii()
    assert json.loads(done.stdout) == [{"line": 2, "offset": 4, "text": "two ü"}]


def test_a_log_that_cannot_be_read_has_no_lines(tmp_path):
    done = run(tmp_path / "none", "build", 0, 1)
    assert (done.returncode, done.stdout) == (1, "[]\n")
    assert re.search("none: No such file", done.stderr)
    for words in ((), ("a", "b", "c", "d"), (tmp_path, "build", 0)):
        assert run(*words).returncode == 2


@pytest.mark.parametrize(
    "begin, filler, end",
    [
        (b"", b"a line of a test that says much\n", b"last\n"),
        (b"first\n", b"no end of it ", b""),
        (b"first\n", b" \n\n\t\n", b""),
        (b"first\n", b"\x1b[0m\n", b""),
    ],
    ids=["many lines", "one line", "blank lines", "lines of nothing but escapes"],
)
def test_a_large_log_takes_neither_long_nor_room(tmp_path, begin, filler, end):
    log = tmp_path / "console.log"
    block = filler * ((1 << 20) // len(filler))
    with log.open("wb") as file:
        file.write(begin)
        for _ in range(200):
            file.write(block)
        file.write(end)
    start = time.monotonic()
    done = run(log, "build", 0, log.stat().st_size)
    assert time.monotonic() - start < 3  # 0.1 to 0.3 s where nothing else runs
    assert done.returncode == 0
