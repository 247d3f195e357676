"""Who asks, by a token; and what of it may be done."""

import base64
import time

from starlette.datastructures import Headers
from starlette.types import Scope

from wrapper.console import line
from wrapper.web.ask import Problem
from wrapper.web.options import Options, Secrets

FAILURES = 10  # of an address, in a MINUTE
MINUTE = 60.0


class Tokens:
    def __init__(self, options: Options) -> None:
        self._options = options
        self._token = Secrets(options.token_file)
        self._failures: dict[str, list[float]] = {}  # by address, when

    def identify(self, scope: Scope, headers: Headers) -> None:
        """Leaves in scope who asks (by), and their rights. Raises Problem."""
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
