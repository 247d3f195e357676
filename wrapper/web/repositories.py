"""Repositories as they are configured; and what the commands plan, why, images say."""

import json
import os
import subprocess
import sys
from typing import Any

from starlette.responses import Response

from wrapper.web import branches
from wrapper.web.ask import Ask, Problem, answer, checked
from wrapper.web.builds import unless_known
from wrapper.web.records import Record
from wrapper.web.world import World

LIMIT = 150  # seconds for a command, which may ask a remote


def all_of_them(ask: Ask) -> Response:
    """Those of config.json, in its order."""
    ask.parameters()
    found = [_describe(ask.world, name) for name in ask.world.repositories()]
    return unless_known(ask, {"repositories": found})


def one(ask: Ask) -> Response:
    """Its settings, resolved, too."""
    ask.parameters()
    name = ask.configured(ask.repository)
    config = ask.world.config()
    assert config is not None
    settings = config.repositories[name].document
    return unless_known(ask, _describe(ask.world, name) | {"settings": settings})


def _describe(world: World, name: str) -> dict[str, Any]:
    config = world.config()
    assert config is not None
    settings = config.repositories[name]
    repo = branches.look(world, name)
    last: dict[str, Record | None] = {
        b.ref: branches.summary(b.verdict) for b in repo.branches
    }
    return {
        "name": name,
        "repository": settings.repository,
        "url": settings.url,
        "image": f"{config.registry}/{settings.image}",
        "paused": world.paused(name),
        "health": world.health().get("repositories", {}).get(name),
        "last": last,
    }


def plan(ask: Ask) -> Response:
    """What a ref would become, without building it."""
    given = ask.parameters("repository", "ref")
    name = ask.configured(checked(given.get("repository", "")))
    ref = [given["ref"]] if given.get("ref") else []
    return _command(ask, "plan", "--json", "--", name, *ref)


def why(ask: Ask) -> Response:
    """The story of a commit, ref, build."""
    of = ask.parameters("of").get("of", "")
    if not of:
        raise Problem(422, "of: missing (a commit, a branch, a tag or a build's ID)")
    return _command(ask, "why", "--json", "--", of)


def images(ask: Ask) -> Response:
    """Which commit each image tag is, and since when."""
    name = ask.parameters("repository").get("repository")
    return _command(ask, "images", "--json", "--", *([checked(name)] if name else []))


def _command(ask: Ask, *words: str) -> Response:
    """What a command of ours prints as JSON: its parts are not loaded here."""
    command = [sys.executable, "-P", "-m", "wrapper", *words]
    environment = os.environ | {"CONFIG": ask.world.options.source}
    try:
        done = subprocess.run(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=LIMIT,
        )
    except subprocess.TimeoutExpired:
        raise Problem(503, f"{words[0]} took too long", retry_after=60) from None
    try:
        return answer(json.loads(done.stdout))
    except ValueError:
        lines = done.stderr.decode(errors="replace").strip().splitlines()
        said = lines[-1] if lines else f"{words[0]} says nothing"
        status = {1: 404, 2: 422, 69: 503, 75: 503}.get(done.returncode, 500)
        raise Problem(status, said, exit_code=done.returncode) from None
