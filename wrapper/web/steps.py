"""Builds by hand: staged, and their steps run one by one, while a person waits."""

import os
import re
import subprocess
import time
from typing import Any

from starlette.responses import Response

from wrapper import SCRIPTS
from wrapper.builds import slots
from wrapper.builds.directory import Build
from wrapper.builds.lock import read_holder
from wrapper.config.schema import nearest
from wrapper.config.schema import steps as names
from wrapper.web.ask import Ask, Problem, answer, checked
from wrapper.web.process import Run
from wrapper.web.progress import runs as runs_of

STAGING = 150  # seconds for stage.sh, which may ask the remote
STARTING = 5.0  # seconds for a step to have the build's lock
CHECKS = 0.3  # seconds more in which it says what it misses
WAIT = 300  # seconds of Prefer: wait=N at most


def run(ask: Ask) -> Response:
    """Runs a step on a build; what it prints is in the build's console.log."""
    ask.parameters()
    ask.json()
    build, step = ask.build(), ask.at["step"]
    if step not in names():
        near = nearest(step, names()) or f" (one of {', '.join(names())})"
        raise Problem(404, f"{step} is no step{near}")
    if build.newer:
        raise Problem(409, f"{build.id} was staged by a newer version (update this)")
    config = ask.world.config()
    most = config.concurrency if config else 1
    place = slots.take(ask.world.builds, most)
    if place is None:
        words = f'{most} builds and steps run already (see "concurrency")'
        raise Problem(429, words, retry_after=10)
    key = build.name
    try:
        begun = Run(build, step, ask.by, place)
    except OSError as e:  # no process left, say
        slots.give_back(place)
        raise Problem(503, f"{step}.sh cannot be run: {e.strerror}") from None
    end = time.monotonic() + STARTING
    while not begun.begun() and time.monotonic() < end:
        time.sleep(0.01)
    begun.ended.wait(CHECKS)
    if not begun.ended.is_set():
        known = ask.world.steps
        for each in [k for k, run in known.items() if run.ended.is_set()]:
            known.pop(each, None)
        known[key] = begun
        begun.ended.wait(_patience(ask))
    where = f"/api/v1/builds/{key}/runs/{step}"
    if not begun.ended.is_set():
        return answer(begun.document(), 202, {"Location": where})
    if begun.code in (2, 69):
        raise _refusal(begun)
    return answer(begun.document(), 200, {"Location": where})


def _patience(ask: Ask) -> float:
    found = re.search(r"\bwait=(\d{1,6})", ask.headers.get("prefer", ""))
    return min(WAIT, int(found[1])) if found else 0.0


def _refusal(run: Run) -> Problem:
    """In the script's own words."""
    record = runs_of(run.build.path).get(run.step, {})
    words = run.words or record.get("message") or f"it ended with {run.code}"
    more: dict[str, Any] = {"exit_code": run.code}
    if run.code == 69:
        pid = read_holder(run.build.path / "lock").pid
        more["pid"] = int(pid) if pid else None
    return Problem(409, words, **more)


def runs(ask: Ask) -> Response:
    """The last run of each step that was called by itself."""
    ask.parameters()
    build = ask.build()
    found = runs_of(build.path)
    found |= {d["step"]: d for d in [_running(ask, build)] if d}
    return answer({"runs": found})


def one_run(ask: Ask) -> Response:
    ask.parameters()
    build, step = ask.build(), ask.at["step"]
    running = _running(ask, build)
    if running and running["step"] == step:
        return answer(running)
    found = runs_of(build.path).get(step)
    if found is None:
        raise Problem(404, f"{step} was not called by itself on {build.id}")
    return answer({"step": step, "running": False} | found)


def _running(ask: Ask, build: Build) -> dict[str, Any] | None:
    begun = ask.world.steps.get(build.name)
    return None if begun is None or begun.ended.is_set() else begun.document()


def stage(ask: Ask) -> Response:
    """Stages a build by hand, which a poller leaves alone."""
    ask.parameters()
    given = ask.json(repository="must", ref="may", commit="may")
    repository = ask.configured(checked(given["repository"]))
    script = [f"{SCRIPTS}/stage.sh", repository, given["ref"]]
    try:
        done = subprocess.run(
            script + [given["commit"]] * bool(given["commit"]),
            env=os.environ | {"CONFIG": ask.world.options.source},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=STAGING,
            start_new_session=True,
        )
    except subprocess.TimeoutExpired:
        words = f"the remote did not answer within {STAGING} s"
        raise Problem(503, words, retry_after=60) from None
    if done.returncode:
        lines = done.stderr.decode(errors="replace").strip().splitlines()
        words = lines[-1] if lines else "stage.sh says nothing"
        code: dict[str, Any] = {"exit_code": done.returncode}
        if done.returncode in (1, 2):
            raise Problem(422, words, **code)
        raise Problem(503, words, **code, retry_after=30)
    build = Build(
        ask.world.builds / repository / os.path.basename(done.stdout.decode().strip())
    )
    where = f"/api/v1/builds/{build.name}"
    return answer({"build": ask.world.records.of(build)}, 201, {"Location": where})
