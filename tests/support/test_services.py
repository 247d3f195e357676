"""services.bash and with-services: what is installed, and which client is chosen."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.parts import ROOT

SUPPORT = ROOT / "tests" / "support"


def program(path: Path, *lines: str) -> None:
    path.write_text("\n".join(("#!/bin/bash", *lines, "")))
    path.chmod(0o755)


@pytest.fixture
def tools(tmp_path, monkeypatch):
    """A folder that is all of PATH: the programs of this machine, but no docker.

    Its apt-get installs nothing, and notes what it is asked for.
    """
    folder = tmp_path / "tools"
    folder.mkdir()
    for place in os.environ["PATH"].split(":"):
        for path in Path(place).glob("*") if Path(place).is_dir() else ():
            if path.name != "docker" and not (folder / path.name).exists():
                (folder / path.name).symlink_to(path)
    (folder / "apt-get").unlink(missing_ok=True)
    program(folder / "apt-get", f'echo "$*" >>{tmp_path}/asked')
    monkeypatch.setenv("PATH", str(folder))
    return folder


def asked(tmp_path: Path) -> list[str]:
    return (tmp_path / "asked").read_text().splitlines()


def test_all_that_is_missing_is_installed_at_once(tools, tmp_path):
    words = "need no-such-1=one bash=bash no-such-2=two no-such-3=one"
    command = ["bash", "-euc", f". {SUPPORT}/services.bash; {words}"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert "one two" in done.stderr
    if os.geteuid() == 0:
        options = "-qq -y install --no-install-recommends"
        assert asked(tmp_path) == ["-qq update", f"{options} one two"]
    else:
        assert done.returncode == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="only root installs packages")
def test_the_client_is_chosen_after_everything_was_installed(
    tools, tmp_path, monkeypatch
):
    for variable in "DOCKER", "REGISTRY":
        monkeypatch.delenv(variable)
    # The one that is there first reaches the engine, but has no BuildKit.
    program(tools / "docker", "[[ $1 != build ]]")
    later = tmp_path / "later"
    later.mkdir()
    monkeypatch.setenv("PATH", f"{tools}:{later}")
    program(tmp_path / "docker", "exit 0")
    (tools / "docker-registry").rename(tmp_path / "docker-registry")
    program(tools / "apt-get", f"cp -P {tmp_path}/docker* {later}")

    command = [str(SUPPORT / "with-services"), "bash", "-c", 'echo "$DOCKER"']
    said = subprocess.check_output(command, text=True)
    assert said.strip() == f"{later}/docker"


def test_the_stand_in_for_github_needs_no_installed_package():
    # For make demo, which runs it with what running the server needs, and no more.
    python = shutil.which("python3") or "python3"
    command = [python, "-S", "-m", "tests.support.github", "--help"]
    subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
