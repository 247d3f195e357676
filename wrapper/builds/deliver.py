"""Hands one message to a target of NOTIFY_FILE: a URL, or a command."""

import base64
import hashlib
import hmac
import json
import os
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import requests

from wrapper.answer import session
from wrapper.console import line

LIMIT = 10.0  # seconds for a receiver's answer
COMMAND_LIMIT = 60.0  # seconds for a command

Target = dict[str, Any]


class Undelivered(Exception):
    """In words; final: to try again would change nothing."""

    def __init__(self, words: str, final: bool = False) -> None:
        super().__init__(words)
        self.final = final


def targets() -> dict[str, Target]:
    """What the file names. Raises Undelivered."""
    name = os.environ.get("NOTIFY_FILE")
    if not name:
        raise Undelivered("NOTIFY_FILE is not set, so nobody can be told")
    try:
        document = json.loads(Path(name).read_bytes())
    except OSError as e:
        raise Undelivered(f"{name}: {e.strerror}") from None
    except ValueError:
        raise Undelivered(f"{name} is not JSON") from None
    if not isinstance(document, dict):
        raise Undelivered(f"{name} is no object of targets")
    return {k: v for k, v in document.items() if isinstance(v, dict)}


def unknown(names: Sequence[str]) -> list[str]:
    """What is wrong with the targets of these names, a line each."""
    if not names:
        return []
    try:
        known = targets()
    except Undelivered as e:
        return [f'notify: {e}; "notify" in config.json names {names[0]}']
    missing = [name for name in names if name not in known]
    return [f"notify: NOTIFY_FILE names no target {name}" for name in missing]


def deliver(name: str, message: dict[str, Any]) -> None:
    """Raises Undelivered."""
    target = targets().get(name)
    if target is None:
        raise Undelivered(f"NOTIFY_FILE names no target {name}")
    body = json.dumps(message).encode()
    if isinstance(target.get("command"), list):
        _run([str(word) for word in target["command"]], body)
    elif isinstance(target.get("url"), str):
        _post(target["url"], str(target.get("secret") or ""), message["id"], body)
    else:
        raise Undelivered(f'target {name} has neither "url" nor "command"')


def signature(secret: str, id: str, at: int, body: bytes) -> str:
    """Of Standard Webhooks, https://www.standardwebhooks.com: v1,BASE64"""
    try:
        key = base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    except ValueError:  # some other word
        key = secret.encode()
    signed = hmac.new(key, f"{id}.{at}.".encode() + body, hashlib.sha256).digest()
    return f"v1,{base64.b64encode(signed).decode()}"


def _post(url: str, secret: str, id: str, body: bytes) -> None:
    at = int(time.time())
    headers = {"Content-Type": "application/json", "User-Agent": "docker-build-server"}
    headers |= {"webhook-id": id, "webhook-timestamp": str(at)}
    if secret:
        headers["webhook-signature"] = signature(secret, id, at, body)
    try:
        with (
            session() as one,
            one.post(
                url,
                data=body,
                headers=headers,
                timeout=LIMIT,
                allow_redirects=False,
                stream=True,  # what it answers does not matter
            ) as answer,
        ):
            code = answer.status_code
    except requests.RequestException as e:
        raise Undelivered(f"cannot be reached: {type(e).__name__}") from None
    if code >= 300:
        final = code < 500 and code not in (408, 429)
        hint = " (redirects are not followed)" if code < 400 else ""
        raise Undelivered(f"it answers {code}{hint}", final)


def _run(command: list[str], body: bytes) -> None:
    clean = {k: v for k, v in os.environ.items() if "TOKEN" not in k}
    try:
        done = subprocess.run(
            command,
            input=body,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=COMMAND_LIMIT,
            env=clean,
            start_new_session=True,
        )
    except OSError as e:
        raise Undelivered(f"{command[0]}: {e.strerror}") from None
    except subprocess.TimeoutExpired:
        raise Undelivered(f"{command[0]} took {COMMAND_LIMIT:.0f} s") from None
    if done.returncode:
        said = done.stdout.decode(errors="replace").strip().rpartition("\n")[2]
        words = f"{command[0]} ends with {done.returncode}: {line(said)[:200]}"
        raise Undelivered(words)
