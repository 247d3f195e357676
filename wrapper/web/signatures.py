"""Is a webhook by whom it says? HMAC over the raw bytes, before anything is parsed."""

import base64
import binascii
import hmac
import time
from collections.abc import Iterable

from starlette.datastructures import Headers

SENDERS = ("github", "gitea", "forgejo", "gitlab", "generic")
SKEW = 300  # seconds that a signed time may be off


def signed(sender: str, headers: Headers, body: bytes, secrets: list[str]) -> str:
    """Why it is not valid, or "". Any of the secrets may have signed it."""
    if sender == "github":
        given = headers.get("x-hub-signature-256", "").removeprefix("sha256=")
        return _hex(given, body, secrets, "X-Hub-Signature-256")
    if sender in ("gitea", "forgejo"):
        given = headers.get("x-forgejo-signature") or ""
        given = given or headers.get("x-gitea-signature", "")
        return _hex(given, body, secrets, "X-Gitea-Signature or X-Forgejo-Signature")
    if "webhook-signature" in headers:
        return _standard(headers, body, secrets)
    if sender == "gitlab":
        word, name = headers.get("x-gitlab-token", ""), "X-Gitlab-Token"
    else:
        scheme, _, word = headers.get("authorization", "").partition(" ")
        word, name = word if scheme.lower() == "bearer" else "", "Bearer"
    if _among(word, secrets):
        return ""
    return f"neither webhook-signature nor {name} is valid"


def _hex(given: str, body: bytes, secrets: list[str], name: str) -> str:
    known = (hmac.new(s.encode(), body, "sha256").hexdigest() for s in secrets)
    return "" if _among(given, known) else f"{name} is not valid"


def _standard(headers: Headers, body: bytes, secrets: list[str]) -> str:
    """https://www.standardwebhooks.com: over ID.TIMESTAMP.BODY"""
    name, at = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    given = headers["webhook-signature"].split()
    text = f"{name}.{at}.".encode() + body
    known = [
        "v1," + base64.b64encode(hmac.digest(_key(s), text, "sha256")).decode()
        for s in secrets
    ]
    if not any(_among(word, known) for word in given[:20]):
        return "webhook-signature is not valid"
    if not at.isdigit() or abs(time.time() - int(at)) > SKEW:
        return f"webhook-timestamp is more than {SKEW} s off (is a clock wrong?)"
    return ""


def _key(secret: str) -> bytes:
    if secret.startswith("whsec_"):
        try:
            return base64.b64decode(secret[6:], validate=True)
        except binascii.Error:
            pass
    return secret.encode()


def _among(word: str, known: Iterable[str]) -> bool:
    """In constant time for each."""
    given = word.encode(errors="replace")
    found = [hmac.compare_digest(given, one.encode()) for one in known]
    return any(found) and bool(given)
