"""The rooms of the wrapper: imports point one way, from the top down."""

import ast
from pathlib import Path

import pytest

from tests.support.parts import ROOT

WRAPPER = ROOT / "wrapper"
# What each room may import; itself always, but for commands.
GROUND = {"wrapper", "answer", "config", "version"}
BUILDS = GROUND | {"console", "screen", "github"}
ROOMS = {
    "wrapper": set(),
    "answer": {"wrapper"},
    "config": {"wrapper", "answer"},
    "version": {"wrapper"},
    "console": {"wrapper"},
    "screen": {"wrapper", "console"},
    "github": {"wrapper", "answer", "console"},
    "builds": BUILDS,
    "pushes": BUILDS | {"builds"},
    "commands": BUILDS | {"builds", "pushes"},
    "web": BUILDS | {"builds", "pushes"},
    "poller": BUILDS | {"builds", "pushes"},
    "__main__": BUILDS | {"builds", "pushes", "poller", "commands", "web"},
}
FILES = sorted(WRAPPER.rglob("*.py"))


def room(module: str) -> str:
    """wrapper.builds.queue is of builds; wrapper alone is its own __init__."""
    return [*module.split("."), "wrapper"][1]


def module(file: Path) -> str:
    parts = file.relative_to(WRAPPER.parent).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


def imports(text: str) -> set[str]:
    """Modules of ours that a file imports, inside functions too."""
    found = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, "a relative import"
            source = node.module or ""
            names = {f"{source}.{alias.name}" for alias in node.names}
            files = {module(file) for file in FILES}
            found |= {name if name in files else source for name in names}
    return {name for name in found if name.split(".")[0] == "wrapper"}


def wrong(name: str, text: str) -> list[str]:
    """What a module imports and may not."""
    mine = room(name)
    allowed = ROOMS[mine] | ({mine} - {"commands"})
    return sorted(other for other in imports(text) if room(other) not in allowed)


@pytest.mark.parametrize("file", FILES, ids=module)
def test_no_module_imports_a_higher_room(file):
    assert wrong(module(file), file.read_text()) == []


@pytest.mark.parametrize(
    "name, line",
    [
        ("wrapper.builds.queue", "from wrapper.pushes.stager import stage"),
        ("wrapper.builds.queue", "def f():\n    import wrapper.poller"),
        ("wrapper.builds.queue", "from wrapper import poller"),
        ("wrapper.commands.status", "from wrapper.commands import why"),
        ("wrapper.commands.status", "from wrapper.poller import Poller"),
        ("wrapper.config.load", "from wrapper.console import say"),
        ("wrapper.config.load", "from wrapper.version import rules"),
        ("wrapper.github.client", "from wrapper.builds.directory import Build"),
        ("wrapper.poller", "from wrapper.commands import health"),
        ("wrapper.console", "from wrapper.config import load"),
        ("wrapper.web.app", "from wrapper.commands import why"),
    ],
)
def test_an_import_that_points_up_is_found(name, line):
    assert len(wrong(name, line)) == 1


def test_every_command_has_a_file_and_every_file_a_command():
    from wrapper.__main__ import _parser

    [commands] = [a for a in _parser()._actions if a.dest == "command"]
    files = {path.stem for path in (WRAPPER / "commands").glob("[!_]*.py")}
    # serve is a room of its own.
    assert files | {"poll", "serve"} == set(commands.choices or ())


def test_there_is_a_map_of_the_rooms():
    text = (WRAPPER / "README.md").read_text()
    for name in ROOMS.keys() - {"wrapper", "__main__"}:
        assert f"`{name}" in text
    for file in FILES:
        if file.stem not in ("__init__", "__main__"):
            assert file.stem in text, file
