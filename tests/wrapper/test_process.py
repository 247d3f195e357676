"""Scripts and how they are started, told to end, and shown."""

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests.support.parts import wait_for
from wrapper import console
from wrapper.builds import process as run
from wrapper.builds.directory import Build
from wrapper.builds.process import Failed, Pipeline, call


@pytest.fixture(autouse=True)
def shown():
    """What builds print is shown."""
    console.show_builds(True)
    yield
    console.show_builds(None)


@pytest.fixture
def script(tmp_path, monkeypatch):
    """script(NAME, TEXT) puts a script in the place of ours."""
    monkeypatch.setattr(run, "SCRIPTS", tmp_path)

    def script(name, text):
        (tmp_path / name).write_text(f"#!/bin/bash\n{text}\n")
        (tmp_path / name).chmod(0o755)

    return script


def test_a_script_does_not_outlive_who_called_it(script, tmp_path):
    leave = f'echo $$ >"{tmp_path}/half"; mv "{tmp_path}"/{{half,pid}}'
    script("x.sh", f"{leave}; sleep 60")
    code = f"""
from pathlib import Path
from wrapper.builds import process as run
run.SCRIPTS = Path({str(tmp_path)!r})
run.call("x.sh")
"""
    caller = subprocess.Popen([sys.executable, "-c", code])
    wait_for((tmp_path / "pid").exists)
    pid = int((tmp_path / "pid").read_text())
    caller.kill()
    caller.wait()
    wait_for(lambda: not Path(f"/proc/{pid}").exists(), 10)


def test_what_a_script_prints(script):
    script("x.sh", 'printf "%s|" "$@" "$A"; printf "%s" "$B" >&2')
    assert call("x.sh", "a b", "$(c)", "-d", env={"A": "é", "B": "err"}) == (
        "a b|$(c)|-d|é|"
    )


def test_it_has_no_terminal_and_nothing_to_read(script):
    script("x.sh", "cat; [[ ! -t 0 && ! -t 1 && ! -t 2 ]] && echo none")
    assert call("x.sh") == "none\n"


def test_bytes_that_are_no_text_survive(script):
    script("x.sh", r"printf 'a\xff\n'")
    assert call("x.sh") == "a\udcff\n"


def test_a_failure_has_the_last_line(script):
    script("x.sh", "echo out; echo one >&2; echo two >&2; exit 75")
    with pytest.raises(Failed, match=r"^two$") as found:
        call("x.sh")
    assert found.value.code == 75
    script("x.sh", "exit 3")
    with pytest.raises(Failed, match="exit 3"):
        call("x.sh")


def test_gits_reason_is_not_what_it_adds_behind_it(script):
    script(
        "x.sh",
        """printf '%s\\n' 'ssh: connect to host x port 1: refused' \
  'fatal: Could not read from remote repository.' '' \
  'Please make sure you have the correct access rights' \
  'and the repository exists.' >&2; exit 128""",
    )
    with pytest.raises(Failed, match=r"^ssh: connect to host x port 1: refused$"):
        call("x.sh")


def test_the_limit_ends_all_of_it(script, tmp_path):
    script("x.sh", f'sleep 60 & echo $! >"{tmp_path}/pid"; wait')
    with pytest.raises(Failed, match=r"x\.sh did not end within 1 s") as found:
        call("x.sh", limit=1)
    assert found.value.code == 124
    pid = int((tmp_path / "pid").read_text())
    wait_for(lambda: not os.path.exists(f"/proc/{pid}"))


def in_thread(pipeline):
    codes = []
    thread = threading.Thread(target=lambda: codes.append(pipeline.run()))
    thread.start()

    def code():
        thread.join(10)
        return codes[0]

    return code


def build(tmp_path):
    return Build(tmp_path / "builds/o/n/20261122T051000.000000Z-1a2b3c4")


def test_a_pipeline_shows_its_output_and_gives_its_code(script, tmp_path, capfd):
    script("pipeline.sh", 'echo "out $1"; echo err >&2; exit 7')
    assert Pipeline(build(tmp_path)).run() == 7
    shown = capfd.readouterr().out.splitlines()
    assert shown == [f"o/n: out {build(tmp_path).path}", "o/n: err"]


def test_elsewhere_a_pipeline_is_a_line_for_each_step(script, tmp_path, capfd):
    console.show_builds(False)
    one = build(tmp_path)
    one.path.mkdir(parents=True)
    about = {"ref": "refs/heads/main", "commit": "1a2b3c4" * 6}
    (one.path / "build.json").write_text(json.dumps(about))
    earlier = "begin\tclone\t2026-11-22T05:10:00.000000Z\t1\n"
    earlier += "end\tclone\tx\tfailure\t9.0\t1\t2\n"
    (one.path / "steps").write_text(earlier)  # of an earlier run
    step = r"at=$(date -u +%FT%T.%6NZ); printf 'begin\t%s\t%s\t1\n' $1 $at >>$steps"
    step += r"; printf 'end\t%s\t%s\t%s\t4.25\t1\t2\n' $1 $at $2 >>$steps"
    script(
        "pipeline.sh",
        f"steps=$1/steps; step() {{ {step}; }}\n"
        "step clone success; yes | head -c 999999; step build failure; exit 1",
    )
    assert Pipeline(one).run() == 1
    shown = [line[21:] for line in capfd.readouterr().out.splitlines()]
    name = "o/n main 1a2b3c4"
    assert shown == [f"{name}: clone 4.2 s", f"{name}: build failure 4.2 s"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_reaches_the_whole_group(script, tmp_path, terminal, number):
    script(
        "pipeline.sh",
        "trap 'echo ended; wait; exit 42' TERM INT\n"
        "(trap 'echo child; exit' TERM INT; echo begun; sleep 60 & wait) &\n"
        "wait; wait",
    )
    terminal.open()
    pipeline = Pipeline(build(tmp_path))
    code = in_thread(pipeline)
    wait_for(lambda: "begun" in terminal.text)
    pipeline.signal(number)
    assert code() == 42
    if number == signal.SIGTERM:  # bash's background jobs ignore INT
        assert "child" in terminal.text


def test_a_signal_before_its_start_or_after_its_end(script, tmp_path):
    script("pipeline.sh", "true")
    early = Pipeline(build(tmp_path))
    early.signal(signal.SIGTERM)
    assert early.run() == 143
    late = Pipeline(build(tmp_path))
    assert late.run() == 0
    late.signal(signal.SIGTERM)


def test_a_stray_child_does_not_hold_it_up(script, tmp_path):
    script("pipeline.sh", "sleep 5 & exit 0")
    assert in_thread(Pipeline(build(tmp_path)))() == 0


def test_descriptors_do_not_add_up(script, tmp_path):
    script("pipeline.sh", "echo x")
    script("x.sh", "echo x")
    count = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        Pipeline(build(tmp_path)).run()
        call("x.sh")
    assert len(os.listdir("/proc/self/fd")) == count


def resident():
    """Memory of this process, in bytes."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def test_what_a_flood_costs_is_bounded(script, tmp_path, monkeypatch):
    shown = []
    monkeypatch.setattr(console, "_write", lambda data: shown.append(len(data)))
    script("pipeline.sh", "yes 'a line of a test that says much' | head -c 30000000")
    before = resident()
    Pipeline(build(tmp_path)).run()
    assert sum(shown) > 30_000_000
    assert resident() - before < 10_000_000


@pytest.mark.parametrize("where", ["1", "2"])
def test_what_prints_without_an_end_is_ended_or_cut(script, where):
    """Its output is refused; of what it has to say the end is kept."""
    script(
        "x.sh",
        f"yes 0123456789 | head -c 40000000 >&{where}; echo >&2; echo end >&2; exit 3",
    )
    with pytest.raises(Failed) as found:
        call("x.sh")
    words = {"1": "x.sh printed more than 16 MiB", "2": "end"}
    assert str(found.value) == words[where]
    assert found.value.code == {"1": 75, "2": 3}[where]


def test_what_never_ends_is_killed(script, tmp_path):
    script("x.sh", f"echo $$ >{tmp_path}/pid; yes")
    with pytest.raises(Failed, match="more than 1 MiB"):
        call("x.sh", most=1 << 20)
    pid = (tmp_path / "pid").read_text().strip()
    wait_for(lambda: not Path(f"/proc/{pid}").exists(), 10)
