"""A configuration behind a URL: asked for with its ETag, its last good copy kept.

The copy is config.json in the builds folder, and never edited by hand.
"""

import os
from pathlib import Path
from typing import NamedTuple

from wrapper import config
from wrapper.config import Config, ConfigError

_TIMEOUT = (10, 30)  # seconds to connect, and between two bytes


class Answer(NamedTuple):
    content: bytes
    etag: str | None


def fetch(url: str, etag: str | None = None) -> Answer | None:
    """What is there now; None if it still is what bore this ETag. Else ConfigError."""
    import requests  # costs 0.1 s, and most configurations are files

    headers = {"If-None-Match": etag} if etag else {}
    try:
        with requests.get(
            url, headers=headers, timeout=_TIMEOUT, stream=True
        ) as response:
            if etag and response.status_code == 304:
                return None
            if response.status_code != 200:
                reason = f"answered {response.status_code} {response.reason}"
                raise ConfigError(url, [reason])
            content = b""
            for chunk in response.iter_content(1 << 16):
                content += chunk
                if len(content) > config.LARGEST:
                    break  # resolve() says so
            return Answer(content, response.headers.get("ETag"))
    except requests.RequestException as e:
        reason = f"cannot be fetched: {type(e).__name__}"
        raise ConfigError(url, [reason]) from None


def load(url: str) -> Config:
    """What is there now, as a configuration; kept as the last good copy."""
    answer = fetch(url)
    assert answer is not None  # without an ETag there is always an answer
    resolved = config.resolve(answer.content, url)
    keep(resolved, answer.content)
    return resolved


def keep(resolved: Config, content: bytes) -> None:
    copy = _copy(resolved.builds)
    copy.parent.mkdir(parents=True, exist_ok=True)
    beside = copy.with_name(f".{copy.name}.{os.getpid()}.tmp")
    beside.write_bytes(content)
    beside.replace(copy)


def last_good(url: str, error: ConfigError) -> Config:
    """The configuration kept last; the error that made it necessary if there is none."""
    builds = os.environ.get("BUILDS")
    if not builds or not _copy(Path(builds)).exists():
        raise error
    return config.resolve(config.read_file(str(_copy(Path(builds)))), url)


def _copy(builds: Path) -> Path:
    return builds / "config.json"
