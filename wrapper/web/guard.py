"""Stands before every call: who asks, by which name, from which page, with how much.

Plain ASGI, since streams pass through it.
"""

import asyncio
import base64
import contextlib
import time
from http import HTTPStatus
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from wrapper.console import line
from wrapper.web.ask import Problem, problem
from wrapper.web.options import Options, Secrets, is_loopback

BODY = 1 << 20  # bytes
HEADERS = 100
SECONDS = 30.0  # for a body to come
FAILURES = 10  # of an address, in a MINUTE
MINUTE = 60.0
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
        self._token = Secrets(options.token_file)
        self._failures: dict[str, list[float]] = {}  # by address, when

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        send = _safely(send)
        try:
            headers = Headers(scope=scope)
            self._check(scope, headers)
            self._identify(scope, headers)
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
        other = origin is not None and urlsplit(origin).netloc != host
        if other or site not in (None, "same-origin", "none"):
            words = f"a page of {origin or 'another site'} may not change anything here"
            raise Problem(403, words)

    def _known(self, host: str) -> bool:
        name = _name(host)
        own = urlsplit(self._options.url or "").hostname
        return is_loopback(name) or name in self._options.hosts or name == own

    def _identify(self, scope: Scope, headers: Headers) -> None:
        address = (scope.get("client") or ("", 0))[0] or "socket"
        path, reads = scope["path"], scope["method"] in ("GET", "HEAD")
        scope["by"], scope["rights"] = address, frozenset()
        if not self._options.token_file:
            return
        if path.startswith("/api/v1/hooks/"):
            return  # these are signed
        name, word = _credentials(headers.get("authorization", ""))
        if word and self._allowed(address) and self._token.match(word):
            scope["by"] = line(f"{name}@{address}" if name else address)
            scope["rights"] = self._options.allow
            return
        if word:
            self._failures.setdefault(address, []).append(time.monotonic())
            raise Problem(401, "this is not the token (of --token-file)")
        badge = self._options.public_badge and path.startswith("/api/v1/badge/")
        if not (reads and (self._options.public_read or badge)):
            words = "it takes a token: Authorization: Bearer TOKEN, or as password"
            raise Problem(401, f"{words} of Basic")

    def _allowed(self, address: str) -> bool:
        """Raises Problem after too many failures."""
        now = time.monotonic()
        for each, times in list(self._failures.items()):
            if times[-1] < now - MINUTE:
                del self._failures[each]
        recent = [t for t in self._failures.get(address, []) if t > now - MINUTE]
        if len(recent) >= FAILURES:
            wait = int(recent[-FAILURES] + MINUTE - now) + 1
            words = f"{FAILURES} wrong tokens came from {address}"
            raise Problem(429, f"{words}: wait {wait} s", retry_after=wait)
        if recent:
            self._failures[address] = recent
        return True


def _name(host: str) -> str:
    """Without a port, in lower case."""
    if host.startswith("["):
        return host.partition("]")[0][1:]
    return host.partition(":")[0].lower()


def _credentials(text: str) -> tuple[str, str]:
    """The name and the token of an Authorization header."""
    scheme, _, rest = text.partition(" ")
    if scheme.lower() == "bearer":
        return "", rest.strip()
    if scheme.lower() == "basic":
        try:
            name, _, word = base64.b64decode(rest).decode().partition(":")
            return name, word
        except ValueError:
            return "", "?"
    return "", ""


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
