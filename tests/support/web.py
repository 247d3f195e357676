"""serve in the test's own process, and a client that holds it to openapi.json."""

import json
import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import requests
from jsonschema import Draft202012Validator
from referencing import Registry
from referencing.jsonschema import DRAFT202012

from tests.support.parts import ROOT, wait_for
from wrapper.web.options import RIGHTS, Options
from wrapper.web.serve import Server

TOKEN = "a-token-of-24-characters"
SPEC = json.loads((ROOT / "wrapper/web/openapi.json").read_text())
CONFIG = json.loads((ROOT / "wrapper/config.schema.json").read_text())
_BASE = "https://here/api/v1/"
_KNOWN: Any = Registry().with_resources(
    [
        (f"{_BASE}openapi.json", DRAFT202012.create_resource(SPEC)),
        (f"{_BASE}config/schema", DRAFT202012.create_resource(CONFIG)),
    ]
)


def operation(method: str, path: str) -> dict[str, Any]:
    """What openapi.json says of a call; path: below /api/v1."""
    method = "get" if method == "HEAD" else method.lower()
    for template, methods in SPEC["paths"].items():
        pattern = re.sub(r"\\\{(\w+)\\\}", lambda m: _part(m[1]), re.escape(template))
        if re.fullmatch(pattern, path) and method in methods:
            found: dict[str, Any] = methods[method]
            return found
    raise AssertionError(f"{method} {path} is not in openapi.json")


def _part(name: str) -> str:
    return ".+" if name == "file" else "[^/]+"


def fits(method: str, path: str, answer: requests.Response) -> None:
    """Raises AssertionError where an answer is not as openapi.json has it."""
    status = str(answer.status_code)
    known = operation(method, path)["responses"]
    what = known.get(status) or known["default"]
    if "$ref" in what:
        what = SPEC["components"]["responses"][what["$ref"].rsplit("/", 1)[1]]
    if status not in known:
        assert answer.status_code >= 400, f"{status} is not in openapi.json"
    for header in what.get("headers", {}):
        assert header in answer.headers or header == "Link", f"no {header}"
    content = what.get("content")
    if method == "HEAD" or content is None:
        assert not answer.content
        return
    kind = answer.headers["Content-Type"].partition(";")[0]
    assert kind in content, f"{kind}: {answer.text[:500]}"
    if kind.endswith("json"):
        schema = {"$id": f"{_BASE}openapi.json"} | SPEC | content[kind]["schema"]
        schema.pop("$schema", None)
        found = Draft202012Validator(_absolute(schema), registry=_KNOWN)
        errors = [
            f"{e.json_path}: {e.message}" for e in found.iter_errors(answer.json())
        ]
        assert not errors, errors


def _absolute(schema: dict[str, Any]) -> dict[str, Any]:
    ref = schema.get("$ref")
    if ref is None:
        return {"type": "object"}
    where = f"{_BASE}openapi.json{ref}" if ref.startswith("#") else _BASE + ref
    return {"$ref": where}


class Api:
    """Asks, and holds each answer to openapi.json. To be closed."""

    def __init__(self, url: str, token: str | None = TOKEN, name: str = "me") -> None:
        self.url = url
        self.session = requests.Session()
        self.session.trust_env = False
        if token:
            self.session.auth = (name, token)

    def __call__(self, method: str, path: str, **request: Any) -> requests.Response:
        """path: below /api/v1, with its query."""
        request.setdefault("allow_redirects", False)
        request.setdefault("timeout", 60)
        url = f"{self.url}/api/v1{path}"
        answer = self.session.request(method, url, **request)
        if not request.get("stream"):
            fits(method, path.partition("?")[0], answer)
        return answer

    def __enter__(self) -> "Api":
        return self

    def __exit__(self, *_: object) -> None:
        self.session.close()

    def get(self, path: str, **request: Any) -> requests.Response:
        return self("GET", path, **request)

    def post(self, path: str, json: Any = None, **request: Any) -> requests.Response:
        return self("POST", path, json=json, **request)

    def is_problem(self, status: int, method: str, path: str, **request: Any) -> Any:
        """The problem that it is answered with."""
        answer = self(method, path, **request)
        assert answer.status_code == status, (answer.status_code, answer.text)
        return answer.json()


def outcome(api: Api, answer: requests.Response) -> requests.Response:
    """What the poller has answered in the end."""
    assert answer.status_code == 202, answer.text
    where = answer.headers["Location"].removeprefix("/api/v1")
    assert where == f"/requests/{answer.json()['request']}"

    answers: list[requests.Response] = []

    def answered() -> bool:
        answers.append(api.get(where))
        return answers[-1].status_code != 202

    wait_for(answered)
    return answers[-1]


@contextmanager
def serving(
    config: Path | str, port: int = 0, **options: Any
) -> Iterator[tuple[str, Server]]:
    """Serves a configuration in a thread, with every right; its URL."""
    listener = socket.create_server(("127.0.0.1", port))
    if "token_file" not in options:
        options["token_file"] = Path(config).with_name("token")
        options["token_file"].write_text(TOKEN)
        options["token_file"].chmod(0o600)
    options.setdefault("allow", frozenset(RIGHTS))
    given = Options(source=str(config), **options)
    given.check()
    server = Server(given)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    wait_for(lambda: server.started)
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", server
    finally:
        server.handle_exit(15, None)
        thread.join(30)
        assert not thread.is_alive()
