"""For the doctor: GitHub and the repositories there. Can we reach them, and may we?"""

import os
import re
import subprocess
import time
from collections.abc import Iterator
from email.utils import parsedate_to_datetime
from fnmatch import fnmatchcase

import requests

from wrapper import SCRIPTS
from wrapper.builds.process import last_words
from wrapper.config.load import Settings
from wrapper.github.errors import reason
from wrapper.github.token import Token

OK, WARN, FAIL = "ok", "warn", "FAIL"
Finding = tuple[str, str]  # one of these, and a line
TIMEOUT = (10, 20)  # seconds to connect, and to wait for a byte
_SKEW = 60  # seconds the clock may be off


def docker() -> str:
    return os.environ.get("DOCKER") or "docker"


def run(*command: str, timeout: float = 60, **env: str) -> tuple[int, str, str]:
    """Exit code, stdout, last line of stderr; 127: no such tool, 124: took too long."""
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            stdin=subprocess.DEVNULL,
            text=True,
            errors="replace",
            timeout=timeout,
            env={**os.environ, **env},
        )
    except OSError as e:
        return 127, "", e.strerror or str(e)
    except subprocess.TimeoutExpired:
        return 124, "", f"no answer in {timeout:.0f} seconds"
    return done.returncode, done.stdout, last_words(done.stderr)


def github() -> Iterator[Finding]:
    """The API, the token, its quota, and the clock. Costs nothing of the quota."""
    url = (os.environ.get("GITHUB_API_URL") or "https://api.github.com").rstrip("/")
    if os.environ.get("GITHUB_SERVER_URL") and not os.environ.get("GITHUB_API_URL"):
        yield WARN, f"GITHUB_SERVER_URL is set, but the API is {url} (GITHUB_API_URL)"
    file = os.environ.get("GITHUB_TOKEN_FILE")
    token = Token()
    if file and not token.value():
        yield FAIL, f"GITHUB_TOKEN_FILE: {file} cannot be read, or holds no token"
    try:
        answer = requests.get(f"{url}/rate_limit", auth=token, timeout=TIMEOUT)
    except requests.RequestException as e:
        advice = "check the network, the proxy and GITHUB_API_URL"
        yield FAIL, f"GitHub: {url} cannot be reached: {reason(e)} ({advice})"
        return
    if answer.status_code == 401:
        yield FAIL, "GitHub refuses the token (make a new one)"
    elif answer.status_code not in (200, 404):  # 404: a server without rate limits
        yield FAIL, f"GitHub: {url} answers {answer.status_code} (see githubstatus.com)"
    else:
        yield OK, f"GitHub: {url} answers"
        yield _scopes(token, answer)
        yield _quota(answer)
    try:
        skew = time.time() - parsedate_to_datetime(answer.headers["Date"]).timestamp()
    except (KeyError, ValueError):
        return
    line = (
        f"the clock is {abs(skew):.0f} s {'ahead of' if skew > 0 else 'behind'} GitHub"
    )
    far = abs(skew) > _SKEW
    yield (WARN, f"{line} (let NTP set it)") if far else (OK, line)


def _scopes(token: Token, answer: requests.Response) -> Finding:
    if not token.value():
        less = "60 requests an hour, no commit statuses, no private repositories"
        return WARN, f"no token: {less} (set GITHUB_TOKEN_FILE)"
    scopes = answer.headers.get("X-OAuth-Scopes")
    if scopes is None:  # fine-grained tokens do not tell what they may
        return OK, "the token is valid (for statuses it needs Commit statuses: write)"
    if not {"repo", "repo:status"} & set(re.split(r",\s*", scopes)):
        advice = "commit statuses need repo:status, private repositories repo"
        return WARN, f"the token is valid, its scopes: {scopes or 'none'} ({advice})"
    return OK, f"the token is valid, its scopes: {scopes}"


def _quota(answer: requests.Response) -> Finding:
    try:
        core = answer.json()["resources"]["core"]
        limit, left, reset = core["limit"], core["remaining"], core["reset"]
    except (ValueError, KeyError, TypeError):
        return OK, "GitHub sets no rate limit"
    until = time.strftime("%H:%M", time.localtime(reset))
    line = f"{left} of {limit} requests are left until {until}"
    if left < limit / 20:
        advice = "until then only the sweep finds pushes; a token has 5000 an hour"
        return WARN, f"{line} ({advice})"
    return OK, line


def repository(name: str, settings: Settings) -> Finding:
    """Whether git sees it, and one of its branches is to be built."""
    script, url = f"{SCRIPTS}/lib/remote-git.sh", settings.url
    code, out, error = run("bash", script, "ls-remote", "--heads", "--", url)
    if code:
        advice = "correct url; a private repository needs a token that may read it"
        return FAIL, f"{name}: {error or f'git exits with {code}'} ({advice})"
    branches = re.findall(r"\trefs/heads/(.+)", out)
    globs = settings.branches
    built = [b for b in branches if any(fnmatchcase(b, glob) for glob in globs)]
    if globs and not built:
        line = f"{name}: no branch matches {', '.join(globs)}"
        return WARN, f"{line} (it has: {_some(branches) or 'none yet'})"
    return OK, f"{name}: git sees it, branches to build: {_some(built) or 'none'}"


def _some(names: list[str]) -> str:
    return ", ".join(names[:5]) + f" and {len(names) - 5} more" * (len(names) > 5)
