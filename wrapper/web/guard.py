"""Stands before every call: who asks, by which name, from which page, with how much.

Plain ASGI, since streams pass through it.
"""

import asyncio
import contextlib
from http import HTTPStatus
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from wrapper.web.ask import Problem, problem
from wrapper.web.options import Options, is_loopback
from wrapper.web.tokens import Tokens

BODY = 1 << 20  # bytes
HEADERS = 100
SECONDS = 30.0  # for a body to come
SAFE = {
    b"content-security-policy": b"default-src 'none'; script-src 'self'; "
    b"style-src 'self'; img-src 'self'; connect-src 'self'; frame-ancestors 'none'; "
    b"base-uri 'none'; form-action 'self'",
    b"x-content-type-options": b"nosniff",
    b"referrer-policy": b"no-referrer",
    b"cross-origin-resource-policy": b"same-origin",
}


class Guard:
    """In front of an application; leaves in scope["by"] who asks, and their rights."""

    def __init__(self, app: ASGIApp, options: Options) -> None:
        self.app = app
        self._options = options
        self._tokens = Tokens(options)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        send = _safely(send)
        try:
            headers = Headers(scope=scope)
            self._check(scope, headers)
            self._tokens.identify(scope, headers)
            scope["body"] = await _body(headers, receive)
        except Problem as error:
            answer = problem(error, HTTPStatus(error.status).phrase)
            answer.headers["Connection"] = "close"
            if error.status not in (408, 413):
                await _drain(headers, receive)
            if error.status == 401:
                words = 'Basic realm="docker-build-server", charset="UTF-8"'
                answer.headers["WWW-Authenticate"] = words
            await answer(scope, receive, send)
            return
        await self.app(scope, receive, send)

    def _check(self, scope: Scope, headers: Headers) -> None:
        """Is it this server that is meant, and no page of another site that asks?"""
        host = headers.get("host", "")
        if not self._known(host) or len(headers.getlist("host")) != 1:
            words = f"{host or 'no name'} is no name of this server"
            raise Problem(421, f"{words} (--host {_name(host) or 'NAME'} makes it one)")
        if len(headers) > HEADERS:
            raise Problem(431, f"more than {HEADERS} headers")
        if scope["method"] in ("GET", "HEAD"):
            return
        origin, site = headers.get("origin"), headers.get("sec-fetch-site")
        other = origin is not None and origin.partition("://")[2] != host
        if other or site not in (None, "same-origin", "none"):
            words = f"a page of {origin or 'another site'} may not change anything here"
            raise Problem(403, words)

    def _known(self, host: str) -> bool:
        name = _name(host)
        own = urlsplit(self._options.url or "").hostname
        return is_loopback(name) or name in self._options.hosts or name == own


def _name(host: str) -> str:
    """Without a port, in lower case."""
    if host.startswith("["):
        return host.partition("]")[0][1:]
    return host.partition(":")[0].lower()


async def _body(headers: Headers, receive: Receive) -> bytes:
    """All of it, in time; raises Problem."""
    body = bytearray()
    too_large = Problem(413, f"the body has more than {BODY >> 20} MiB")
    length = headers.get("content-length", "0")
    if not length.isdigit() or int(length) > BODY:
        raise too_large
    if length == "0" and "transfer-encoding" not in headers:
        return b""
    try:
        async with asyncio.timeout(SECONDS):
            while True:
                message = await receive()
                body += message.get("body", b"")
                if len(body) > BODY:
                    raise too_large
                if message["type"] != "http.request" or not message.get("more_body"):
                    return bytes(body)
    except TimeoutError:
        raise Problem(408, f"the body did not come within {SECONDS:.0f} s") from None


async def _drain(headers: Headers, receive: Receive) -> None:
    """A small body is read before a refusal: it would be lost in a reset else."""
    if headers.get("content-length", "0") == "0":
        return
    read = 0
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(1):
            while read < BODY:
                message = await receive()
                read += len(message.get("body", b""))
                if not message.get("more_body"):
                    return


def _safely(send: Send) -> Send:
    """With the headers that every answer bears."""

    async def safely(message: Message) -> None:
        if message["type"] == "http.response.start":
            given = list(message.get("headers", []))
            names = {name.lower() for name, _ in given}
            message["headers"] = given + [x for x in SAFE.items() if x[0] not in names]
        await send(message)

    return safely
