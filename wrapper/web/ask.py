"""One call of the API: what was asked, in typed parts, and how it is refused."""

import json
import re
from dataclasses import dataclass, field
from typing import Any

from starlette.datastructures import Headers
from starlette.responses import Response

from wrapper.builds import journal
from wrapper.builds.directory import Build, is_id
from wrapper.config.schema import nearest
from wrapper.console import line
from wrapper.web.world import World

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*/[A-Za-z0-9._-]+")


class Problem(Exception):
    """An answer as RFC 9457 has it: a status, and in one line what, why, what to do.

    more: further members, such as errors, exit_code, pid, retry_after.
    """

    def __init__(self, status: int, detail: str, **more: Any) -> None:
        super().__init__(detail)
        self.status, self.detail, self.more = status, line(detail), more


@dataclass(frozen=True)
class Ask:
    world: World
    method: str
    at: dict[str, str]  # the names in the path
    query: dict[str, str]
    headers: Headers = field(default_factory=Headers)
    body: bytes = b""
    by: str = ""  # who asks: the user name of Basic, and an address
    rights: frozenset[str] = frozenset()

    @property
    def repository(self) -> str:
        """OWNER/NAME of the path, checked as the scripts check it."""
        return checked(f"{self.at['owner']}/{self.at['name']}")

    def configured(self, repository: str) -> str:
        """The same, if config.json has it."""
        known = self.world.repositories()
        if repository not in known:
            near = nearest(repository, known)
            words = f'{repository} is not configured{near} (add it to "repositories")'
            raise Problem(404, words)
        return repository

    def build(self) -> Build:
        """The build that the path names; `latest` is the repository's newest."""
        repository, id = self.repository, self.at["id"]
        if id == "latest":
            newest = next(self.world.store.newest(repository), None)
            if newest is None:
                raise Problem(404, f"{repository} has no builds")
            return newest
        if not is_id(id):
            raise Problem(404, f"{id} is no build's ID, nor `latest`")
        build = Build(self.world.builds / repository / id)
        if not (build.path / "build.json").is_file():
            if journal.recorded(self.world.builds, build, ""):
                words = f"build {id} was pruned; the journal has its story"
                raise Problem(410, f'{words} ("keep" says how many stay)')
            raise Problem(404, f"{repository} has no build {id}")
        return build

    def parameters(self, *known: str) -> dict[str, str]:
        """The query, if it has no other names than these."""
        wrong = [name for name in self.query if name not in known]
        if wrong:
            errors = [_unknown(name, known) for name in wrong]
            raise Problem(422, errors[0]["detail"], errors=errors)
        return self.query

    def json(self, **known: str) -> dict[str, str]:
        """The body's texts by name. known: "must" or "may"; what is absent is ""."""
        try:
            given = json.loads(self.body or b"{}")
        except (ValueError, RecursionError):
            raise Problem(400, "the body is no JSON") from None
        if not isinstance(given, dict):
            raise Problem(422, "the body is to be a JSON object")
        errors = [_unknown(str(name), known) for name in given if name not in known]
        for name, needed in known.items():
            value = given.get(name)
            if value is None and needed == "must":
                errors.append({"path": name, "detail": f"{name}: missing"})
            elif value is not None and not _is_text(value):
                words = f"{name}: must be a text without control characters"
                errors.append({"path": name, "detail": words})
        if errors:
            raise Problem(422, errors[0]["detail"], errors=errors)
        return {name: given.get(name) or "" for name in known}


def _is_text(value: Any) -> bool:
    if not isinstance(value, str) or len(value) > 1000:
        return False
    return not re.search("[\x00-\x1f\x7f\ud800-\udfff]", value)


def _unknown(name: str, known: Any) -> dict[str, str]:
    return {"path": name, "detail": f"{name}: unknown{nearest(name, list(known))}"}


def checked(repository: str) -> str:
    """A name that may become a path. Raises Problem."""
    if not _NAME.fullmatch(repository) or repository.endswith(("/.", "/..")):
        raise Problem(404, f"{repository} is no OWNER/NAME")
    return repository


def answer(
    document: dict[str, Any], status: int = 200, headers: dict[str, str] | None = None
) -> Response:
    """JSON of ours."""
    body = json.dumps({"format": 1} | document, ensure_ascii=False)
    return Response(
        body.encode(errors="replace"),
        status,
        headers,
        "application/json",
    )


def problem(error: Problem, title: str) -> Response:
    document = {"type": "about:blank", "title": title, "status": error.status}
    document |= {"detail": error.detail} | error.more
    headers = {}
    if "retry_after" in error.more:
        headers["Retry-After"] = str(error.more["retry_after"])
    body = json.dumps(document, ensure_ascii=False).encode(errors="replace")
    return Response(body, error.status, headers, "application/problem+json")
