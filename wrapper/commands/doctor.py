"""docker-build-server doctor: one screen that says whether a build could succeed here.

What it finds of the host is builds/host.py's; what GitHub and git say is asked here.
"""

import os
import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from email.utils import parsedate_to_datetime

import requests

from wrapper import SCRIPTS, screen
from wrapper.answer import ask, session
from wrapper.builds import deliver, host
from wrapper.builds.host import FAIL, OK, WARN, Finding
from wrapper.config.globs import matches
from wrapper.config.load import Config, ConfigError, Settings, load, wanted
from wrapper.config.schema import mask
from wrapper.github.client import serves
from wrapper.github.errors import reason
from wrapper.github.token import Token

_SKEW = 60  # seconds the clock may be off


def run(source: str) -> int:
    """Prints what it finds; exit code 1 if anything would stop a build."""
    failed = False
    for level, line in _findings(source):
        screen.text(f"{level:4}  {mask(line)}")
        failed = failed or level == FAIL
    return int(failed)


def _findings(source: str) -> Iterator[Finding]:
    yield from host.tools()
    yield host.cage()
    try:
        config = load(source, lambda line: print(f"{WARN:4}  {line}"))
    except ConfigError as e:
        yield from host.engine()
        yield from (Finding(FAIL, line) for line in str(e).splitlines())
        return
    engine = list(host.cluster() if config.on_kubernetes else host.engine())
    yield from engine
    urls = [settings.url for settings in config.repositories.values()]
    if not urls or any(map(serves, urls)):
        yield from _github()
    yield from (Finding(WARN, line) for line in deliver.unknown(wanted(config)))
    yield Finding(OK, f"{source}: repositories: {len(config.repositories)}")
    yield from host.disk(config.builds, config.disk_free_min)
    yield from host.container(config.builds)
    if not config.on_kubernetes and FAIL not in [found.level for found in engine]:
        yield host.registry(config.registry, _an_image(config))
    with ThreadPoolExecutor(8) as pool:
        found = config.repositories
        yield from pool.map(_repository, found.keys(), found.values())


def _an_image(config: Config) -> str:
    """One that will be pushed: what a registry says may differ from name to name."""
    images = [settings.image for settings in config.repositories.values()]
    return images[0] if images else "docker-build-server/doctor"


def _github() -> Iterator[Finding]:
    """The API, the token, its quota, and the clock. Costs nothing of the quota."""
    url = (os.environ.get("GITHUB_API_URL") or "https://api.github.com").rstrip("/")
    if os.environ.get("GITHUB_SERVER_URL") and not os.environ.get("GITHUB_API_URL"):
        words = f"GITHUB_SERVER_URL is set, but the API is {url} (GITHUB_API_URL)"
        yield Finding(WARN, words)
    file = os.environ.get("GITHUB_TOKEN_FILE")
    token = Token()
    if file and not token.value():
        words = f"GITHUB_TOKEN_FILE: {file} cannot be read, or holds no token"
        yield Finding(FAIL, words)
    try:
        with session() as one:
            answer = ask(one, "GET", f"{url}/rate_limit", 3, auth=token)
    except requests.RequestException as e:
        advice = "check the network, the proxy and GITHUB_API_URL"
        words = f"GitHub: {url} cannot be reached: {reason(e)} ({advice})"
        yield Finding(FAIL, words)
        return
    if answer.status_code == 401:
        yield Finding(FAIL, "GitHub refuses the token (make a new one)")
    elif answer.status_code not in (200, 404):  # 404: a server without rate limits
        words = f"GitHub: {url} answers {answer.status_code} (see githubstatus.com)"
        yield Finding(FAIL, words)
    else:
        yield Finding(OK, f"GitHub: {url} answers")
        yield _scopes(token, answer)
        yield _quota(answer)
    yield from _clock(answer)


def _clock(answer: requests.Response) -> Iterator[Finding]:
    try:
        skew = time.time() - parsedate_to_datetime(answer.headers["Date"]).timestamp()
    except (KeyError, ValueError):
        return
    side = "ahead of" if skew > 0 else "behind"
    line = f"the clock is {abs(skew):.0f} s {side} GitHub"
    if abs(skew) > _SKEW:
        yield Finding(WARN, f"{line} (let NTP set it)")
    else:
        yield Finding(OK, line)


def _scopes(token: Token, answer: requests.Response) -> Finding:
    if not token.value():
        less = "60 requests an hour, no commit statuses, no private repositories"
        return Finding(WARN, f"no token: {less} (set GITHUB_TOKEN_FILE)")
    scopes = answer.headers.get("X-OAuth-Scopes")
    if scopes is None:  # fine-grained tokens do not tell what they may
        needs = "for statuses it needs Commit statuses: write"
        return Finding(OK, f"the token is valid ({needs})")
    line = f"the token is valid, its scopes: {scopes or 'none'}"
    if not {"repo", "repo:status"} & set(re.split(r",\s*", scopes)):
        advice = "commit statuses need repo:status, private repositories repo"
        return Finding(WARN, f"{line} ({advice})")
    return Finding(OK, line)


def _quota(answer: requests.Response) -> Finding:
    try:
        core = answer.json()["resources"]["core"]
        limit, left, reset = core["limit"], core["remaining"], core["reset"]
    except (ValueError, KeyError, TypeError):
        return Finding(OK, "GitHub sets no rate limit")
    until = time.strftime("%H:%M", time.localtime(reset))
    line = f"{left} of {limit} requests are left until {until}"
    if left < limit / 20:
        advice = "until then only the sweep finds pushes; a token has 5000 an hour"
        return Finding(WARN, f"{line} ({advice})")
    return Finding(OK, line)


def _repository(name: str, settings: Settings) -> Finding:
    """Whether git sees it, and one of its branches is to be built."""
    script = f"{SCRIPTS}/lib/remote-git.sh"
    command = ["bash", script, "ls-remote", "--symref", "--", settings.url]
    code, out, error = host.run(*command, "HEAD", "refs/heads/*")
    if code:
        advice = "correct url; a private repository needs a token that may read it"
        words = f"{name}: {error or f'git exits with {code}'} ({advice})"
        return Finding(FAIL, words)
    branches = re.findall(r"\trefs/heads/(.+)", out)
    default = re.search(r"^ref: refs/heads/(.+)\tHEAD$", out, re.M)
    globs = settings.branches
    known = default[1] if default else None
    built = [b for b in branches if matches(b, globs, known)]
    if globs and not built:
        line = f"{name}: no branch matches {', '.join(globs)}"
        return Finding(WARN, f"{line} (it has: {_some(branches) or 'none yet'})")
    line = f"{name}: git sees it, branches to build: {_some(built) or 'none'}"
    return Finding(OK, line)


def _some(names: list[str]) -> str:
    return ", ".join(names[:5]) + f" and {len(names) - 5} more" * (len(names) > 5)
