"""config.json: read, checked, and resolved into what each repository is built with.

python -P -m wrapper.config OWNER/NAME prints {"builds": PATH, "settings": {...}}.
"""

import json
import os
import re
import stat
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wrapper import SCRIPTS, schema

LARGEST = 1 << 20  # bytes
_UNITS = {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}


class ConfigError(Exception):
    """A configuration that cannot be used; problems holds "PATH: reason", all of them.

    As text: one line for each, with the name of the file or URL first.
    """

    def __init__(self, source: str, problems: list[str]) -> None:
        self.problems = problems
        super().__init__("\n".join(f"{schema.mask(source)}: {p}" for p in problems))


@dataclass(frozen=True)
class Config:
    registry: str
    builds: Path  # absolute
    concurrency: int
    disk_free_min: int  # bytes
    poll_interval: float  # seconds
    poll_sweep: float  # seconds
    repositories: dict[str, dict[str, Any]]  # entry's name -> every setting, resolved


def default_source() -> str:
    """$CONFIG, else config.json in the current directory, else beside the scripts."""
    beside = SCRIPTS.parent / "config.json"
    here = Path("config.json")
    return os.environ.get("CONFIG") or str(
        beside if beside.exists() and not here.exists() else here
    )


def is_url(source: str) -> bool:
    return source.startswith(("http://", "https://"))


def load(source: str) -> Config:
    """The configuration in a file or at an http(s) URL; ConfigError otherwise.

    While the URL cannot be had or is wrong, its last good copy counts.
    """
    if not is_url(source):
        return resolve(read_file(source), source)
    from wrapper import remote

    try:
        return remote.load(source)
    except ConfigError as e:
        config = remote.last_good(source, e)
        print(f"{e}\nThe last good copy is used.", file=sys.stderr)
        return config


def read_file(source: str) -> bytes:
    """A file's content; ConfigError where there is no plain file of a sane size."""
    try:
        with open(source, "rb", opener=_open_without_waiting) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise ConfigError(source, ["is not a file"])
            content = file.read(LARGEST + 1)
    except OSError as e:
        hint = " (--config or CONFIG names another)" * (e.errno == 2)
        raise ConfigError(source, [f"cannot be read: {e.strerror}{hint}"]) from None
    except ValueError as e:  # a NUL in the name
        raise ConfigError(source, [f"cannot be read: {e}"]) from None
    return content


def _open_without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)  # a FIFO would wait for its writer


def resolve(content: bytes, source: str) -> Config:
    """The configuration these bytes hold, defaults and environment applied."""
    try:
        if len(content) > LARGEST:
            raise ValueError("is larger than 1 MiB")
        document = schema.parse(content.decode())
        problems = schema.problems(document)
    except UnicodeDecodeError as e:
        raise ConfigError(source, [f"is not UTF-8 (byte {e.start + 1})"]) from None
    except RecursionError:
        raise ConfigError(source, ["is nested too deeply"]) from None
    except ValueError as e:
        raise ConfigError(source, [str(e)]) from None
    if problems:
        raise ConfigError(source, problems)

    top = merge(schema.defaults(schema.schema()), document)
    disk_free_min = _bytes(top["disk_free_min"])
    shared = merge(
        schema.defaults(schema.schema()["$defs"]["settings"]), top.get("defaults", {})
    )
    shared |= {"registry": top["registry"], "disk_free_min": disk_free_min}
    repositories = {
        name: _fill_in(name, merge(shared, own), problems)
        for name, own in top["repositories"].items()
    }
    builds = os.environ.get("BUILDS")
    if not builds and is_url(source):
        problems.append("needs BUILDS in the environment, to name the builds folder")
    if problems:
        raise ConfigError(source, problems)
    beside = Path(source).absolute().parent
    return Config(
        registry=top["registry"],
        builds=Path(builds or beside / top["builds"]).absolute(),
        concurrency=top["concurrency"],
        disk_free_min=disk_free_min,
        poll_interval=top["poll"]["interval"],
        poll_sweep=top["poll"]["sweep"],
        repositories=repositories,
    )


def merge(under: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """Both, over's values first; objects key by key, everything else as a whole."""
    merged = under | over
    for key in under.keys() & over.keys():
        if isinstance(under[key], dict):
            merged[key] = merge(under[key], over[key])
    return merged


def _fill_in(
    name: str, settings: dict[str, Any], problems: list[str]
) -> dict[str, Any]:
    server = os.environ.get("GITHUB_SERVER_URL") or "https://github.com"
    settings.setdefault("repository", name)
    settings.setdefault("url", f"{server.rstrip('/')}/{settings['repository']}.git")
    settings.setdefault("image", name.lower())
    rules = schema.schema()["$defs"]["settings"]["properties"]
    for key in "url", "image":  # what was put together here was not checked yet
        if not re.fullmatch(rules[key]["pattern"], settings[key]):
            path = schema.where(["repositories", name, key])
            reason = rules[key]["patternErrorMessage"]
            problems.append(f"{path}: {schema.show(settings[key])} {reason}; set it")
    return settings


def _bytes(size: int | str) -> int:
    number = str(size).rstrip("BKMGTi")
    return int(number) * _UNITS[str(size)[len(number) :] or "B"]


def check(source: str) -> int:
    """For `docker-build-server check`: says what is wrong, or that nothing is. 0 or 1"""
    try:
        config = load(source)
    except ConfigError as e:
        print(e, file=sys.stderr)
        return 1
    count = len(config.repositories)
    print(f"{schema.mask(source)}: ok, {count} repositories, builds in {config.builds}")
    return 0


def main(argv: list[str]) -> int:
    if len(argv) != 1 or argv[0].startswith("-"):
        print("usage: python -m wrapper.config OWNER/NAME", file=sys.stderr)
        return 2
    source = default_source()
    try:
        config = load(source)
    except ConfigError as e:
        print(e, file=sys.stderr)
        return 1
    settings = config.repositories.get(argv[0])
    if settings is None:
        near = schema.nearest(argv[0], list(config.repositories))
        print(
            f"{schema.mask(source)}: {argv[0]} is not configured{near}"
            ' (add it under "repositories")',
            file=sys.stderr,
        )
        return 2
    print(json.dumps({"builds": str(config.builds), "settings": settings}))
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
