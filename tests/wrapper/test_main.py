"""The command line: what every command has."""

import re
import subprocess
import sys

import pytest

from tests.support.parts import ROOT
from wrapper.__main__ import _parser, main
from wrapper.web.options import RIGHTS

[_COMMANDS] = [a for a in _parser()._actions if a.dest == "command"]
COMMANDS = dict(_COMMANDS.choices or {})
ASKED = sorted(COMMANDS.keys() - {"poll", "check", "doctor", "health", "plan", "serve"})


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_help_has_an_example_and_the_exit_codes(name, capsys):
    with pytest.raises(SystemExit) as ended:
        main([name, "-h"])
    said = capsys.readouterr().out
    assert ended.value.code == 0
    assert f"example: docker-build-server {name}" in said
    assert re.search(r"exit codes: \d \w", said)


def test_the_version_is_that_of_the_package(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    [number] = re.findall(
        r'^version = "(.+)"', (ROOT / "pyproject.toml").read_text(), re.M
    )
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"docker-build-server {number}\n"


def completes(*words):
    script = f"""
    . {ROOT}/scripts/completion.bash
    COMP_WORDS=(docker-build-server "$@") COMP_CWORD=$#
    _docker_build_server && printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    done = subprocess.run(
        ["bash", "-c", script, "-", *words], capture_output=True, text=True, check=True
    )
    return set(done.stdout.split())


def test_bash_completes_what_there_is():
    assert completes("") >= COMMANDS.keys()
    assert completes("sta") == {"status"}
    assert completes("rerun", "o/n", "--from", "un") == {"unit-test"}
    assert completes("serve", "--allow", "") == set(RIGHTS)
    assert completes("serve", "--allow", "builds,st") == {"builds,steps"}
    assert completes("serve", "--token-file", "") == set()
    for name, command in COMMANDS.items():
        options = {o for action in command._actions for o in action.option_strings}
        known = {option for option in options if option.startswith("--")}
        assert completes(name, "--") == known, name


@pytest.mark.parametrize("name", ASKED)
def test_make_has_a_target_of_the_same_name(name):
    text = (ROOT / "Makefile").read_text()
    assert name == "notify" or re.search(
        rf"^{name}: setup ## .+\n\t@.*\) {name} ", text, re.M
    )


def test_a_word_too_many_is_called_wrongly():
    command = [sys.executable, "-m", "wrapper", "log", "a", "b", "c"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2 and "more than REPO and WHAT" in done.stderr
