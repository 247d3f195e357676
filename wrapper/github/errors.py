"""What goes wrong at GitHub, in one line for a person."""

import json
import re
import time
from email.utils import parsedate_to_datetime
from typing import Any

import requests

PAUSE = 60.0  # seconds, where GitHub does not say how long
LONGEST = 3600.0  # seconds that are waited, whatever an answer says


class Trouble(Exception):
    """What did not work just now, in one line.

    wait: leave it alone for so many seconds at least. slow: a person has to act first.
    everywhere: it concerns all repositories alike. code: the HTTP status, or 0.
    """

    def __init__(
        self,
        words: str,
        wait: float = 0,
        slow: bool = False,
        everywhere: bool = False,
        code: int = 0,
    ) -> None:
        super().__init__(shorten(words, 500))
        self.wait = wait
        self.slow = slow
        self.everywhere = everywhere
        self.code = code


_WORDS = {
    400: "does not know this version of its API (update docker-build-server)",
    401: "refuses the token (renew GITHUB_TOKEN_FILE or GITHUB_TOKEN)",
    403: "forbids it (may the token read this repository?)",
    404: "knows no such repository, or the token may not see it (check its name)",
    410: "has retired this version of its API (update docker-build-server)",
    451: "has blocked the repository for legal reasons",
}


def judge(response: requests.Response) -> Trouble | None:
    """What an answer means; None where it is no trouble."""
    code, headers = response.status_code, response.headers
    if code < 400:
        return None
    message = _message(response)
    spent = headers.get("X-RateLimit-Remaining") == "0"
    after = headers.get("Retry-After", "")
    limited = re.search(r"rate limit|secondary|abuse", message, re.IGNORECASE)
    if code == 429 or (code == 403 and (limited or spent or after)):
        wait = PAUSE
        if re.fullmatch(r"[0-9]+", after):
            wait = min(float(after), LONGEST)
        elif spent:
            wait = until_reset(headers) + 1
        return Trouble(
            f"GitHub's rate limit is used up ({code})", wait, everywhere=True, code=code
        )
    if code in _WORDS:
        words = f"GitHub {_WORDS[code]}: {code}, {shorten(message, 200) or 'no reason'}"
        everywhere = code in (400, 401, 410)
        return Trouble(words, slow=True, everywhere=everywhere, code=code)
    return Trouble(f"GitHub answers {code} {shorten(message, 200)}".strip(), code=code)


def until_reset(headers: Any) -> float:
    """Seconds until the quota is full again, by the server's own clock."""
    try:
        now = parsedate_to_datetime(headers["Date"]).timestamp()
    except (KeyError, ValueError):
        now = time.time()
    try:
        left = int(headers["X-RateLimit-Reset"]) - int(now)
        return float(min(max(0, left), LONGEST))
    except (KeyError, ValueError):
        return PAUSE


def reason(error: BaseException) -> str:
    """The innermost cause of a failed request, without Python's names for it."""
    if isinstance(error, requests.Timeout):
        return "no answer in time"
    if isinstance(error, requests.exceptions.SSLError):
        return f"TLS: {error}"
    if "NameResolutionError" in str(error):
        return "its name does not resolve"
    while cause := error.__cause__ or error.__context__:
        error = cause
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def shorten(text: str, length: int) -> str:
    """One line of at most so many characters."""
    text = " ".join(text.split())
    return text if len(text) <= length else text[: length - 1] + "…"


def _message(response: requests.Response) -> str:
    try:
        return str(json.loads(response.content)["message"])
    except (ValueError, RecursionError, LookupError, TypeError):
        return ""
