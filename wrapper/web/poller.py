"""What changes a build is a request, left for the poller; its answer is shown."""

import re
from typing import Any

from starlette.responses import Response

from wrapper.builds import requests
from wrapper.web.ask import Ask, Problem, answer, checked


def trigger(ask: Ask) -> Response:
    """Has the poller build a repository: its default branch, or what is named."""
    ask.parameters()
    given = ask.json(repository="must", what="may", version="may")
    repository = ask.configured(checked(given["repository"]))
    return _leave(
        ask,
        "trigger",
        repository=repository,
        ref=given["what"],
        version=given["version"],
    )


def rerun(ask: Ask) -> Response:
    """Has it run a build once more, from a step on."""
    ask.parameters()
    given = ask.json(**{"from": "may"})
    build = ask.build()
    if build.info.get("source") == "manual":
        words = "a build by hand is nobody's but yours: POST …/steps/STEP runs one"
        raise Problem(409, f"{build.id}: {words}")
    return _leave(ask, "rerun", build=build.name, **given)


def cancel(ask: Ask) -> Response:
    """Has it end a build."""
    ask.parameters()
    ask.json()
    build = ask.build()
    if (result := build.result()) is not None:
        raise Problem(409, f"{build.id} had ended: {result.get('status')}")
    return _leave(ask, "cancel", build=build.name)


def pause(ask: Ask) -> Response:
    """Has it start nothing, or nothing of a repository."""
    return _leave(ask, "pause", repository=_meant(ask))


def resume(ask: Ask) -> Response:
    return _leave(ask, "resume", repository=_meant(ask))


def _meant(ask: Ask) -> str:
    ask.parameters()
    ask.json()
    return ask.configured(ask.repository) if "owner" in ask.at else ""


def promote(ask: Ask) -> Response:
    """Gives a version names of one's own, as "production"."""
    ask.parameters()
    given = ask.json(repository="must", version="must", name="must")
    repository = ask.configured(checked(given["repository"]))
    return _leave(
        ask,
        "promote",
        repository=repository,
        version=given["version"],
        names=[given["name"]],
    )


def _leave(ask: Ask, what: str, **arguments: Any) -> Response:
    given = {key: value for key, value in arguments.items() if value}
    try:
        name = requests.leave(ask.world.builds, what, given, by=ask.by)
    except requests.Refused as e:
        raise _problem(e.code, str(e)) from None
    where = f"/api/v1/requests/{name}"
    return answer({"request": name, "what": what}, 202, {"Location": where})


def request(ask: Ask) -> Response:
    """202 until the poller has answered; then its build, or its refusal."""
    ask.parameters()
    name, builds = ask.at["request"], ask.world.builds
    if not re.fullmatch("[0-9a-f]{32}", name):
        raise Problem(404, f"{name} is no request")
    waits = requests.waits(builds, name)  # first: it is answered, and then removed
    found = requests.read_answer(builds, name)
    if found is None:
        if not waits:
            raise Problem(404, f"there is no request {name}, or not any more")
        if not requests.poller_runs(builds):
            raise Problem(503, "no poller runs: the request waits", retry_after=10)
        return answer({"request": name, "message": "the poller has it"}, 202)
    if found.code:  # 69 of an answer: the build is being worked on
        code = 1 if found.code == requests.NO_POLLER else found.code
        raise _problem(code, found.message)
    about = {"request": name, "message": found.message, "build": found.build}
    if found.build:
        where = f"/api/v1/builds/{found.build}"
        return answer(about, 303, {"Location": where})
    return answer(about)


def _problem(code: int, words: str) -> Problem:
    """An exit code of ours, as a status."""
    more: dict[str, Any] = {"exit_code": code}
    if code in (69, 75):
        more["retry_after"] = 10
    return Problem({2: 422, 69: 503, 75: 503}.get(code, 409), words, **more)
