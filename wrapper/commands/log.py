"""docker-build-server log: the console of a build."""

import sys
from pathlib import Path

from wrapper.builds import verdict
from wrapper.builds.directory import Build
from wrapper.builds.follow import copy, show
from wrapper.builds.steps import read_steps
from wrapper.builds.what import Unclear, find
from wrapper.screen import Output, say

BEFORE, AFTER = 5, 20  # lines around a failing one: tools say what it was below it
FAR = 65536  # bytes, as far back as they may begin


def run(
    builds: Path, what: list[str], follows: bool, step: str | None, failed: bool
) -> int:
    """Prints it. With follows until its end, and then its exit code; else 0, or 1: it
    has no such part, 2: no such build.
    """
    try:
        build = find(builds, *what)
    except Unclear as e:
        print(e, file=sys.stderr)
        return 2
    if not what:
        say(f"== {build.path}/console.log")
    if follows:
        return show(build)
    console = Output()
    try:
        if not (build.path / "console.log").exists():
            say(f"{build.name} has not begun: {build.state()}")
            return 1
        if failed:
            return _show_failing(build, console)
        return _show(build, step, console)
    finally:
        console.close()


def _show(build: Build, step: str | None, console: Output) -> int:
    """All of it, or what a step has printed the last time that it ran."""
    begin, end = 0, None
    if step:
        steps = {one.name: one for one in read_steps(build.path)}
        if step not in steps:
            names = ", ".join(steps) or "none yet"
            say(f"{build.name} has no step {step} (it has: {names})")
            return 1
        begin, end = steps[step].offset, steps[step].end
    copy(build.path / "console.log", begin, end, console.write)
    return 0


def _show_failing(build: Build, console: Output) -> int:
    """The lines that say why it failed, numbered, with some around them."""
    result = build.result()
    lines = verdict.failing(result or {})
    if not lines:
        say(f"{build.name}: {verdict.words(result) if result else build.state()}")
        return 1
    wanted = sorted(int(line["line"]) for line in lines)
    offset = int(lines[0]["offset"])
    back = max(0, offset - FAR)
    with (build.path / "console.log").open("rb") as file:
        file.seek(back)
        first = int(lines[0]["line"]) - file.read(offset - back).count(b"\n")
        file.seek(back)
        shown = 0
        for number, text in enumerate(file, first):
            if number > wanted[-1] + AFTER:
                break
            if not any(-BEFORE <= number - line <= AFTER for line in wanted):
                continue
            if shown and number > shown + 1:
                console.write(b"...\n")
            shown = number
            mark = b">" if number in wanted else b" "
            console.write(b"%s %d: %s\n" % (mark, number, text.rstrip(b"\n")[:4096]))
    say(verdict.words(result or {}))
    return 0
