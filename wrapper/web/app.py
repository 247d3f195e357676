"""The application: the one list of its calls, each with the right that it takes."""

from collections.abc import Callable
from http import HTTPStatus
from typing import NamedTuple

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from wrapper.console import say
from wrapper.web import (
    badge,
    builds,
    configuration,
    hooks,
    log,
    metrics,
    overview,
    page,
    poller,
    repositories,
    steps,
)
from wrapper.web.ask import Ask, Problem, problem
from wrapper.web.guard import Guard
from wrapper.web.options import Options
from wrapper.web.world import World


class Call(NamedTuple):
    method: str
    path: str
    answer: Callable[[Ask], Response]
    right: str = ""  # one of options.RIGHTS; "": reading


BUILD, REPOSITORY = "/builds/{owner}/{name}/{id}", "/repositories/{owner}/{name}"
CALLS = [
    Call("GET", "/overview", overview.overview),
    Call("GET", "/builds", builds.newest),
    Call("POST", "/builds", poller.trigger, "builds"),
    Call("GET", BUILD, builds.one),
    Call("GET", f"{BUILD}/log", log.raw),
    Call("GET", f"{BUILD}/log/events", log.events),
    Call("GET", f"{BUILD}/files/{{file:path}}", builds.file),
    Call("POST", f"{BUILD}/rerun", poller.rerun, "builds"),
    Call("POST", f"{BUILD}/cancel", poller.cancel, "builds"),
    Call("POST", f"{BUILD}/steps/{{step}}", steps.run, "steps"),
    Call("GET", f"{BUILD}/runs", steps.runs),
    Call("GET", f"{BUILD}/runs/{{step}}", steps.one_run),
    Call("POST", "/stages", steps.stage, "steps"),
    Call("GET", "/requests/{request}", poller.request),
    Call("PUT", "/pause", poller.pause, "builds"),
    Call("DELETE", "/pause", poller.resume, "builds"),
    Call("GET", "/repositories", repositories.all_of_them),
    Call("GET", REPOSITORY, repositories.one),
    Call("PUT", f"{REPOSITORY}/pause", poller.pause, "builds"),
    Call("DELETE", f"{REPOSITORY}/pause", poller.resume, "builds"),
    Call("POST", f"{REPOSITORY}/look", hooks.look, "builds"),
    Call("GET", "/plan", repositories.plan),
    Call("GET", "/why", repositories.why),
    Call("GET", "/images", repositories.images),
    Call("POST", "/promote", poller.promote, "publish"),
    Call("GET", "/config", configuration.get),
    Call("PUT", "/config", configuration.put, "config"),
    Call("GET", "/config/schema", configuration.schema),
    Call("POST", "/hooks/{sender}", hooks.receive),
    Call("GET", "/health", overview.health),
    Call("GET", "/metrics", metrics.metrics),
    Call("GET", "/badge/{owner}/{name}.svg", badge.svg),
    Call("GET", "/badge/{owner}/{name}.json", badge.shields),
    Call("GET", "/openapi.json", page.openapi),
]
PAGES = ["/", "/builds/{owner}/{name}/{id}", "/api"]


def application(options: Options) -> ASGIApp:
    """The ASGI application; its state.world is for who serves it."""
    world = World(options)
    by_path: dict[str, dict[str, Call]] = {}
    for call in CALLS:
        by_path.setdefault(call.path, {})[call.method] = call
    routes = [_route(f"/api/v1{path}", calls) for path, calls in by_path.items()]
    for path in PAGES:
        routes.append(_route(path, {"GET": Call("GET", path, page.page)}))
    static = Call("GET", "/static/{file}", page.static)
    routes.append(_route(static.path, {"GET": static}))
    app = Starlette(
        routes=routes,
        exception_handlers={
            Problem: _problem,
            HTTPException: _http,
            Exception: _internal,
        },
    )
    app.state.world = world
    app.router.redirect_slashes = False
    return Guard(app, options)


def _route(path: str, calls: dict[str, Call]) -> Route:
    async def endpoint(request: Request) -> Response:
        method = "GET" if request.method == "HEAD" else request.method
        call = calls[method]
        if not call.right:
            return await _answer(call, request)
        status = 500
        try:
            answer = await _answer(call, request)
            status = answer.status_code
            return answer
        except Problem as error:
            status = error.status
            raise
        finally:  # who did what
            by, path = request.scope["by"], request.url.path
            say("serve", f"{request.method} {path}: {status}, by {by}")

    return Route(path, endpoint, methods=list(calls))


async def _answer(call: Call, request: Request) -> Response:
    scope, world = request.scope, request.app.state.world
    if call.right and call.right not in scope["rights"]:
        words = f"{call.method} {call.path} takes the right {call.right}"
        raise Problem(403, f"{words} (serve --token-file F --allow {call.right})")
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if scope["body"] and kind != "application/json" and call.answer != hooks.receive:
        words = f"the body is {kind or 'of no type'}, not application/json"
        raise Problem(415, f"{words} (Content-Type says so)")
    ask = Ask(
        world,
        request.method,
        request.path_params,
        dict(request.query_params),
        request.headers,
        scope["body"],
        scope["by"],
        scope["rights"],
    )
    return await run_in_threadpool(call.answer, ask)


async def _problem(_: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)
    return problem(error, HTTPStatus(error.status).phrase)


async def _http(request: Request, error: Exception) -> Response:
    """What the router itself refuses."""
    assert isinstance(error, HTTPException)
    words = f"{request.url.path} is nothing that there is (GET /api lists all calls)"
    if error.status_code == 405:
        allowed = (error.headers or {}).get("Allow", "")
        words = f"{request.method} is not for {request.url.path} ({allowed} is)"
    made = problem(Problem(error.status_code, words), error.detail)
    made.headers.update(error.headers or {})
    return made


async def _internal(request: Request, error: Exception) -> Response:
    say("serve", f"{request.method} {request.url.path}: internal error: {error!r}")
    words = "an error of ours; what serve prints says more"
    return problem(Problem(500, words), HTTPStatus(500).phrase)
