"""Where a configuration comes from: a file, or a URL whose last good copy is kept."""

import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from wrapper.config import schema

LARGEST = 1 << 20  # bytes
REDIRECTS = 10


class ConfigError(Exception):
    """A configuration that cannot be used; problems holds "PATH: reason", all of them.

    As text: one line for each, with the name of the file or URL first.
    """

    def __init__(self, source: str, problems: list[str]) -> None:
        self.problems = [schema.printable(p) for p in problems]
        place = schema.printable(schema.mask(source))
        super().__init__("\n".join(f"{place}: {p}" for p in self.problems))


class Answer(NamedTuple):
    content: bytes
    etag: str | None


def is_url(source: str) -> bool:
    return source.startswith(("http://", "https://"))


def read(path: str) -> bytes:
    """A file's content; ConfigError where there is no plain file of a sane size."""
    try:
        with open(path, "rb", opener=_open_without_waiting) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise ConfigError(path, ["cannot be read: not a file"])
            content = file.read(LARGEST + 1)
    except OSError as e:
        hint = " (--config or CONFIG names another)" * (e.errno == 2)
        raise ConfigError(path, [f"cannot be read: {e.strerror}{hint}"]) from None
    except ValueError as e:  # a NUL in the name
        raise ConfigError(path, [f"cannot be read: {e}"]) from None
    return content


def _open_without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)  # a FIFO would wait for its writer


def fetch(url: str, etag: str | None = None) -> Answer | None:
    """What is there now; None if it still is what bore this ETag. Else ConfigError."""
    import requests  # costs 0.1 s, and most configurations are files

    from wrapper import answer

    headers = {"If-None-Match": etag} if etag else {}
    try:
        with answer.session() as session:
            got = answer.ask(session, "GET", url, REDIRECTS, LARGEST, headers=headers)
    except answer.TooLarge:
        raise ConfigError(url, ["is larger than 1 MiB"]) from None
    except requests.RequestException as e:
        raise ConfigError(url, [f"cannot be fetched: {type(e).__name__}"]) from None
    if etag and got.status_code == 304:
        return None
    if got.status_code != 200:
        raise ConfigError(url, [f"answered {got.status_code} {got.reason}"])
    return Answer(got.content, got.headers.get("ETag"))


def keep(builds: Path, content: bytes) -> None:
    """Makes this the last good copy of what the URL holds, where there is room."""
    with suppress(OSError):
        builds.mkdir(parents=True, exist_ok=True)
        beside = builds / f".config.json.{os.getpid()}.tmp"
        beside.write_bytes(content)
        beside.replace(builds / "config.json")


def kept() -> bytes | None:
    """The last good copy, from the builds folder that $BUILDS names."""
    try:
        return Path(os.environ["BUILDS"], "config.json").read_bytes()
    except (KeyError, OSError):
        return None
