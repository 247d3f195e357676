"""Webhooks are a hint, never the truth: a valid one has a repository looked at."""

import json
from itertools import product
from typing import Any
from urllib.parse import parse_qs

from starlette.responses import Response

from wrapper.builds import journal
from wrapper.config.load import Settings
from wrapper.console import line, say
from wrapper.web.ask import Ask, Problem, answer
from wrapper.web.signatures import SENDERS, signed

# Where a payload names its repository; nothing else of it is read.
NAMES = (
    ("repository", "full_name"),
    ("project", "path_with_namespace"),
    ("repository",),
)
URLS = (
    *product(
        ("repository", "project"),
        ("clone_url", "ssh_url", "html_url", "git_http_url", "git_ssh_url"),
    ),
    ("repository", "url"),
    ("project", "web_url"),
    ("url",),
)


def receive(ask: Ask) -> Response:
    """What a forge sends on a push; it is told at once."""
    ask.parameters()
    world, sender = ask.world, ask.at["sender"]
    if sender not in SENDERS:
        raise Problem(404, f"{sender} is none of {', '.join(SENDERS)}")
    if world.secrets.file is None:
        raise Problem(403, "hooks take a secret (serve --hook-secret-file F)")
    refusal = signed(sender, ask.headers, ask.body, world.secrets.lines())
    if refusal:
        if not _count(ask, sender, "refused"):
            say("serve", f"a hook of {sender} is refused: {refusal} (said once)")
        raise Problem(401, refusal)
    if ask.headers.get("x-github-event") == "ping":
        _count(ask, sender, "ping")
        return answer({"repositories": []})
    payload = _payload(ask)
    names = {n.lower() for n in _texts(payload, NAMES)}
    urls = {normal(u) for u in _texts(payload, URLS)}
    config = world.config()
    known = {} if config is None else config.repositories
    meant = [n for n, s in known.items() if _is_meant(s, names, urls)]
    for repository in meant:
        touch(ask, repository)
    if not meant:
        said = line(", ".join(sorted(names)) or "none")[:200]
        why = f"a hook of {sender} names {said}, which is not configured"
        journal.tell(world.builds, "hooks", "ignored", why)
    _count(ask, sender, "taken" if meant else "unknown")
    return answer({"repositories": meant}, 202)


def look(ask: Ask) -> Response:
    """The same hint, by whoever has the right builds."""
    ask.parameters()
    ask.json()
    repository = ask.configured(ask.repository)
    touch(ask, repository)
    return answer({"repositories": [repository]}, 202)


def touch(ask: Ask, repository: str) -> None:
    """Has the poller compare a repository with git."""
    folder = ask.world.builds / repository
    folder.mkdir(parents=True, exist_ok=True)
    (folder / ".look").touch()
    (ask.world.builds / ".wake").touch()


def _count(ask: Ask, sender: str, outcome: str) -> int:
    """How many there were before."""
    hooks = ask.world.hooks
    before = hooks.get((sender, outcome), 0)
    hooks[sender, outcome] = before + 1
    return before


def _payload(ask: Ask) -> dict[str, Any]:
    body = ask.body
    if ask.headers.get("content-type", "").startswith("application/x-www-form"):
        form = parse_qs(body.decode(errors="replace"), max_num_fields=10)
        body = (form.get("payload") or ["{}"])[0].encode(errors="replace")
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        raise Problem(400, "the body is no JSON") from None
    return document if isinstance(document, dict) else {}


def _texts(payload: dict[str, Any], paths: Any) -> list[str]:
    found = []
    for path in paths:
        value: Any = payload
        for key in path:
            value = value.get(key) if isinstance(value, dict) else None
        if isinstance(value, str) and value:
            found.append(value)
    return found


def _is_meant(settings: Settings, names: set[str], urls: set[str]) -> bool:
    return settings.repository.lower() in names or normal(settings.url) in urls


def normal(url: str) -> str:
    """A remote's URL without what may differ: host/path, of https and ssh alike."""
    rest = url.strip().lower().rpartition("://")[2].rpartition("@")[2]
    host, slash, path = rest.partition("/")
    if ":" in host and not host.rpartition(":")[2].isdigit():  # git@host:o/n
        host, _, first = host.partition(":")
        path = f"{first}{slash}{path}"
    return f"{host.partition(':')[0]}/{path.removesuffix('/').removesuffix('.git')}"
