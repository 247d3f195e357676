"""The README's systemd unit is one that systemd takes."""

import re
import shutil
import subprocess

import pytest

from tests.support.parts import ROOT

README = (ROOT / "README.md").read_text()


def units():
    """The poller's, and that of serve."""
    text = README + (ROOT / "wrapper/web/README.md").read_text()
    return re.findall(r"```ini\n# /etc/systemd/system/\S+\n(.*?)```", text, re.S)


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="no systemd here")
@pytest.mark.parametrize("unit", units(), ids=["poll", "serve"])
def test_systemd_finds_nothing_wrong_with_it(tmp_path, unit):
    path = tmp_path / "docker-build-server.service"
    # Where README has it installed there is nothing on this machine.
    path.write_text(re.sub(r"(?m)^ExecStart=\S+", "ExecStart=/bin/true", unit))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", path], capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_what_it_makes_writable_is_where_the_builds_are():
    [builds] = re.findall(r'with `"builds": "/var/lib/(\S+)"`', README)
    [home] = re.findall(r"HOME=/var/lib/(\S+) docker login", README)
    for unit in units():
        assert f"StateDirectory={builds} {home}\n" in unit
        assert f"HOME=%S/{home} " in unit


def test_the_readme_stays_short():
    assert len(README.splitlines()) <= 250
