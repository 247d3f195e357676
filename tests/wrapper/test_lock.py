"""Lock files: held, asked about, and signed."""

import fcntl
import os
import re
import subprocess
import sys
import threading

import pytest

from wrapper.builds.lock import PROBE, Locked, held, holder, lock, read_holder


def test_a_lock_bears_the_name_of_its_holder(tmp_path):
    path = tmp_path / "lock"
    texts = []
    for _ in range(2):
        with lock(path):
            texts.append(path.read_text())
            assert read_holder(path)[:2] == (os.uname().nodename, str(os.getpid()))
    assert all(re.fullmatch(r"\S+ \d+ [0-9a-f]{16}\n", text) for text in texts)
    assert texts[0] != texts[1]  # the same process, another holding


@pytest.mark.parametrize(
    "text, expected",
    [
        ("here 12 abcd\n", ("here", "12", "abcd")),
        ("12\n", ("", "12", "")),  # of an older version
        ("", ("", "", "")),
        ("12 13\n", ("", "", "")),
        ("here -1 abcd", ("", "", "")),
        ("here ٣ abcd", ("", "", "")),
        ("\ufffd\ufffd", ("", "", "")),
        ("a 1 b c", ("", "", "")),
    ],
)
def test_who_holds_a_lock(text, expected):
    assert holder(text) == expected


def test_a_lock_is_seen_from_another_process_and_dies_with_its_holder(tmp_path):
    path = tmp_path / "lock"
    assert not held(path)
    code = (
        "import time; from pathlib import Path\n"
        "from wrapper.builds.lock import lock\n"
        f"with lock(Path({str(path)!r})): print(flush=True); time.sleep(60)"
    )
    holder = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert holder.stdout
    holder.stdout.readline()
    assert held(path)
    with pytest.raises(Locked, match=str(holder.pid)), lock(path):
        pass
    holder.kill()
    holder.wait()
    holder.stdout.close()
    assert not held(path)
    with lock(path):
        assert read_holder(path).pid == str(os.getpid())


def test_who_only_asks_whether_a_lock_is_held_is_in_nobodys_way(tmp_path):
    path = tmp_path / "lock"
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        threading.Timer(PROBE / 2, fcntl.flock, (file, fcntl.LOCK_UN)).start()
        with lock(path, sign=False):
            assert path.read_text() == ""


def test_two_who_ask_whether_a_lock_is_held_do_not_see_each_other(tmp_path):
    path = tmp_path / "lock"
    path.touch()
    with path.open() as other:
        fcntl.flock(other, fcntl.LOCK_SH)  # as held() has it for a moment
        assert not held(path)
