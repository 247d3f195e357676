"""The lines of console.log that say why a step failed."""

import io
import json
import os
import re
import subprocess
import sys
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.parts import ROOT
from wrapper.builds.failing import HEAD, failing
from wrapper.builds.marks import headline


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


RECORDED = ROOT / "tests/support/failing"
EXPECTED = {
    "node-tap": "not ok 150 - adds 150",
    "node-spec": "✖ adds 150",
    "jest": "● adds 150",
    "mocha": "1) adds 150:",
    "vitest": "FAIL  a.test.js > adds 150",
    "tap": "not ok 150 - adds 150",
    "tsc": "a.ts(1,7): error TS2322: Type 'string' is not assignable to type 'number'.",
    "eslint": "1:17  error    'nothing' is not defined",
    "npm-ci": "npm error The `npm ci` command can only install with an existing",
    "buildkit": "Error: Cannot find module '/app/missing.js'",
    "classic": "Error: Cannot find module '/app/missing.js'",
}


@pytest.mark.parametrize("tool", sorted(EXPECTED))
def test_the_line_that_a_real_tool_marks(tool):
    text = (RECORDED / f"{tool}.txt").read_bytes()
    coloured = re.sub(rb"(?m)^(?=.)", b"\x1b[0m\x1b[31m", text)
    for bytes_ in text, coloured, text.replace(b"\n", b"\r\n"):
        found = lines(b"before\n" + bytes_, 7)
        line = headline([text for _, _, text in found])
        assert line and line.startswith(EXPECTED[tool])
        for number, offset, _ in found:
            assert (b"before\n" + bytes_)[:offset].count(b"\n") == number - 1
    if tool not in ("buildkit", "classic", "npm-ci"):
        assert len(found) == 1


def test_what_a_recording_is_of_is_known():
    assert {p.stem for p in RECORDED.glob("*.txt")} == EXPECTED.keys() | {"npm-script"}


def test_builders_name_their_step():
    for tool, step in ("buildkit", "[4/4] RUN "), ("classic", "Step 4/4 : RUN "):
        first, *_, last = lines((RECORDED / f"{tool}.txt").read_bytes())
        assert first[2].startswith(step + "cd /app && node missing.js")
        assert "node missing.js" in last[2]


MOCHA = b"""
  0 passing (2ms)
  2 failing

  1) the sum
       of two
         adds:
     Error: no
  2) alone:
     Error: no
"""
NESTED = b"""# Subtest: sums
    # Subtest: adds
    not ok 1 - adds
    # Subtest: later
    not ok 2 - later # TODO one day
    1..2
not ok 1 - sums
# Subtest: alone
not ok 2 - alone
"""


@pytest.mark.parametrize(
    "text, expected",
    [
        (MOCHA, ["adds:", "2) alone:"]),
        (NESTED, ["not ok 1 - adds", "not ok 2 - alone"]),
        (b"not ok 1 - a\nnot ok 2 - b # SKIP\n", ["not ok 1 - a"]),
        (b"FAIL ./a.test.js\n  \xe2\x97\x8f Console\n", ["FAIL ./a.test.js"]),
        (b"1) a list\n2) of a program\n", ["1) a list", "2) of a program"]),
    ],
    ids=["mocha's suites", "TAP in TAP", "TAP that is passed over", "jest", "no mark"],
)
def test_marks(text, expected):
    assert [said.strip() for _, _, said in lines(text)] == expected


def test_of_many_the_first_five():
    text = b"".join(b"not ok %d - a\n" % n for n in range(1, 99)) + b"end\n"
    assert [said for _, _, said in lines(text)] == [
        f"not ok {n} - a" for n in range(1, 6)
    ]


@pytest.mark.parametrize("end", [b"", b"\n"])
def test_a_mark_behind_a_long_line(end):
    text = b"x" * (3 << 20) + b"\nnot ok 1 - a" + end
    assert lines(text) == [(2, (3 << 20) + 1, "not ok 1 - a")]


def test_nodes_runner_as_it_is_here(tmp_path):
    test = "test('adds', () => {}); test('takes away', () => { throw Error('no'); })"
    (tmp_path / "a.test.js").write_text(f"const test = require('node:test'); {test}")
    done = subprocess.run(["node", "--test"], cwd=tmp_path, capture_output=True)
    line = headline([said for _, _, said in lines(done.stdout)])
    assert done.returncode and line and "takes away" in line, done.stdout


@pytest.mark.parametrize("buildkit", ["0", "1"])
def test_a_builder_as_it_is_here(tmp_path, base_image, buildkit):
    run = "RUN mkdir /a && touch /a/b && node -e 'throw Error(\"no\")'"
    (tmp_path / "Dockerfile").write_text(f"FROM {base_image}\n{run}\n")
    done = subprocess.run(
        [os.environ["DOCKER"], "build", "--no-cache", str(tmp_path)],
        env=os.environ | {"DOCKER_BUILDKIT": buildkit, "BUILDKIT_PROGRESS": "plain"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    said = [text for _, _, text in lines(done.stdout)]
    assert done.returncode and headline(said) == "Error: no", done.stdout.decode()
    step = "[2/2] RUN mkdir" if buildkit == "1" else "Step 2/2 : RUN mkdir"
    assert said[0].startswith(step)
