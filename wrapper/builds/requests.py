"""What others ask of the running poller: files in builds/.requests, and its answers.

Whoever may write there needs neither the poller's token nor its rights, and nothing
else in the builds folder ever belongs to another user.
"""

import json
import os
import pwd
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from wrapper.builds.directory import Newer, now, read_json
from wrapper.builds.lock import held

CALLED_WRONGLY, NO_POLLER, TEMPORARY = 2, 69, 75  # codes of an answer, beside 0 and 1
PATIENCE = 180.0  # seconds for an answer: git may take two minutes of them
LOOKS = 0.02  # seconds between two looks for an answer


class Answer(NamedTuple):
    """What became of a request."""

    code: int  # an exit code: 0 done, 1 refused, 2 wrong, 69 no poller, 75 temporary
    message: str  # one line: what was done, or what is wrong and what to do
    build: str | None = None  # OWNER/NAME/ID of the build that it is about

    def show(self) -> int:
        """Says it to who has asked; the exit code."""
        print(self.message, file=sys.stderr if self.code else sys.stdout)
        return self.code


class Refused(Exception):
    """A request that is not done: code as in Answer."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True)
class Request:
    what: str  # trigger, rerun, cancel, pause, …
    by: str  # user@host, or the name that the API knows
    arguments: dict[str, Any]

    def text(self, name: str) -> str | None:
        """An argument that is a text; None where it is not given. Raises Refused."""
        value = self.arguments.get(name)
        if value is not None and (not isinstance(value, str) or "\0" in value):
            raise Refused(CALLED_WRONGLY, f"{self.what}: {name} is no text")
        return value or None

    def wanted(self, name: str) -> str:
        """An argument that has to be there. Raises Refused."""
        value = self.text(name)
        if value is None:
            raise Refused(CALLED_WRONGLY, f"{self.what}: {name} is missing")
        return value


def me() -> str:
    """Who asks: user@host."""
    try:
        user = pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        user = str(os.geteuid())
    return f"{user}@{os.uname().nodename}"


Arguments = Mapping[str, str | bool | list[str] | None]  # None: not given


def ask(
    builds: Path,
    what: str,
    arguments: Arguments,
    by: str = "",
    seconds: float = PATIENCE,
) -> Answer:
    """Asks the poller, and waits for what it answers.

    No poller, or none any more: the request is taken back, code 69.
    """
    try:
        request = leave(builds, what, arguments, by)
    except Refused as e:
        return Answer(e.code, str(e))
    end = time.monotonic() + seconds
    while (answer := read_answer(builds, request)) is None:
        if not poller_runs(builds):
            take_back(builds, request)
            # It may have answered as its last deed.
            return read_answer(builds, request) or _no_poller(builds)
        if time.monotonic() > end:
            words = f"the poller has not answered within {seconds:.0f} s"
            return Answer(TEMPORARY, f"{words} (it still may: {what})")
        time.sleep(LOOKS)
    return answer


def leave(builds: Path, what: str, arguments: Arguments, by: str = "") -> str:
    """Leaves a request, and returns its name. Raises Refused (69: no poller runs)."""
    if not poller_runs(builds):
        raise Refused(*_no_poller(builds)[:2])
    given = {key: value for key, value in arguments.items() if value is not None}
    head = {"format": 1, "what": what, "by": by or me(), "at": now()}
    document = given | head
    name = os.urandom(16).hex()
    beside = builds / f".requests/.{name}"
    try:
        # Readable for the poller, whatever the umask here: the folder itself is closed.
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        with open(os.open(beside, flags, 0o600), "w") as file:
            os.fchmod(file.fileno(), 0o644)
            json.dump(document, file)
        beside.rename(request_file(builds, name))
    except OSError as e:
        advice = "who may write there may ask: the folder's group, see ls -ld"
        raise Refused(1, f"{builds}/.requests: {e.strerror} ({advice})") from None
    return name


def read_answer(builds: Path, name: str) -> Answer | None:
    """What the poller has answered to a request; None as long as it has not."""
    try:
        document = read_json(answer_file(builds, name))
    except (OSError, Newer) as e:
        return Answer(1, str(e))
    if document is None:
        return None
    build = document.get("build")
    code, message = document.get("code"), document.get("message")
    return Answer(code if isinstance(code, int) else 1, str(message), build)


def waits(builds: Path, name: str) -> bool:
    """Is there such a request, without an answer yet?"""
    return request_file(builds, name).exists()


def take_back(builds: Path, name: str) -> None:
    with suppress(OSError):
        request_file(builds, name).unlink()


def poller_runs(builds: Path) -> bool:
    """Raises PermissionError to whom the builds folder is closed."""
    return held(builds / ".lock")


def _no_poller(builds: Path) -> Answer:
    return Answer(NO_POLLER, f"no poller runs for {builds} (docker-build-server poll)")


def request_file(builds: Path, name: str) -> Path:
    return builds / ".requests" / f"{name}.json"


def answer_file(builds: Path, name: str) -> Path:
    return builds / ".requests/answers" / f"{name}.json"
