"""config.json: checked, and resolved into what each repository is built with.

python -P -m wrapper.config OWNER/NAME prints {"builds": PATH, "settings": {...}}.
"""

import json
import os
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from wrapper import SCRIPTS
from wrapper.config import schema, source
from wrapper.config.globs import exclude_alone
from wrapper.config.source import ConfigError as ConfigError

_HUBS = (
    "docker.io",
    "index.docker.io",
    "registry-1.docker.io",
    "registry.hub.docker.com",
)
_UNITS = {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}


@dataclass(frozen=True)
class Settings:
    """What a repository is built with: what is read of it here, and all of it."""

    repository: str  # OWNER/NAME on GitHub
    url: str  # of the git remote
    branches: list[str]  # globs
    tags: list[str]  # globs
    tag_prefix: str  # of the tags that are this entry's
    paths: list[str] | None  # patterns of files, as git's :(glob); None: all
    image: str  # name in the registry
    superseded: str  # "skip" or "build"
    timeouts: dict[str, float]  # seconds, by step
    document: dict[str, Any]  # every setting, resolved, as stage.sh has it

    @classmethod
    def of(cls, document: dict[str, Any]) -> "Settings":
        """Those of a document that is valid and resolved."""
        names = {field.name for field in fields(cls)} - {"document"}
        return cls(**{name: document[name] for name in names}, document=document)


@dataclass(frozen=True)
class Config:
    registry: str
    builds: Path  # absolute
    concurrency: int
    disk_free_min: int  # bytes
    build_cache_max: int  # bytes
    poll_interval: float  # seconds
    poll_sweep: float  # seconds
    engine: dict[str, Any] | None  # where builds run as jobs; None: on this machine
    repositories: dict[str, Settings]  # by the entry's name

    @property
    def on_kubernetes(self) -> bool:
        """Do builds run there? Then no engine is needed on this machine."""
        return self.engine is not None and self.engine["kind"] == "kubernetes"


def _warn(message: object) -> None:
    print(message, file=sys.stderr)


def default_source() -> str:
    """$CONFIG, else config.json in the current directory, else beside the scripts."""
    near, beside = Path("config.json"), SCRIPTS.with_name("config.json")
    default = beside if beside.exists() and not near.exists() else near
    return os.environ.get("CONFIG") or str(default)


def usual_builds(name: str) -> Path:
    """The builds folder, as far as that can be told without the configuration."""
    usual = schema.schema()["properties"]["builds"]["default"]
    return Path(os.environ.get("BUILDS") or Path(name).parent / usual).absolute()


def load(name: str, warn: Callable[[str], None] = _warn) -> Config:
    """The configuration in a file or at an http(s) URL; ConfigError otherwise.

    While the URL cannot be had or is wrong, its last good copy counts, with a warning.
    """
    if not source.is_url(name):
        return resolve(source.read(name), name)
    try:
        answer = source.fetch(name)
        assert answer is not None  # asked without an ETag
        config = resolve(answer.content, name)
    except ConfigError as e:
        content = source.kept()
        if content is None:
            raise
        warn(f"{e} (the last good copy is used)")
        return resolve(content, name)
    source.keep(config.builds, answer.content)
    return config


def resolve(content: bytes, name: str) -> Config:
    """The configuration these bytes hold, with the schema's and its own defaults."""
    try:
        if len(content) > source.LARGEST:
            raise ValueError("is larger than 1 MiB")
        document = schema.parse(content.decode())
        problems = schema.problems(document)
    except UnicodeDecodeError as e:
        raise ConfigError(name, [f"is not UTF-8 (byte {e.start + 1})"]) from None
    except RecursionError:
        raise ConfigError(name, ["is nested too deeply"]) from None
    except ValueError as e:
        raise ConfigError(name, [str(e)]) from None
    if problems:
        raise ConfigError(name, problems)

    rules = schema.schema()
    top = merge(schema.defaults(rules), document)
    sizes = {key: _bytes(top[key]) for key in ("disk_free_min", "build_cache_max")}
    shared = merge(schema.defaults(rules["$defs"]["settings"]), top.get("defaults", {}))
    shared |= {"registry": top["registry"], "engine": top["engine"]} | sizes
    if top["engine"] is not None:
        usual = schema.defaults(rules["properties"]["engine"])
        shared["engine"] = merge(usual, top["engine"])
    repositories = {
        entry: _fill_in(
            entry, merge(shared, _with_tags(given, top.get("defaults", {}))), problems
        )
        for entry, given in top["repositories"].items()
    }
    problems += _same_images(top["registry"], repositories)
    builds = os.environ.get("BUILDS")
    if not builds and source.is_url(name):
        problems.append(
            "needs BUILDS in the environment, the path of the builds folder"
        )
    if problems:
        raise ConfigError(name, problems)
    return Config(
        registry=top["registry"],
        builds=Path(builds or Path(name).parent / top["builds"]).absolute(),
        concurrency=top["concurrency"],
        **sizes,
        poll_interval=top["poll"]["interval"],
        poll_sweep=top["poll"]["sweep"],
        engine=shared["engine"],
        repositories=repositories,
    )


def remarks(config: Config) -> list[str]:
    """What is no mistake, but hardly meant, each as "PATH: reason"."""
    found = []
    for entry, settings in config.repositories.items():
        for key in "branches", "tags", "paths":
            if exclude_alone(getattr(settings, key) or []):
                path = schema.where(["repositories", entry, key])
                words = 'exclusions alone match nothing (put others first, as "*")'
                found.append(f"{path}: {words}")
    return found


def _with_tags(given: dict[str, Any], shared: dict[str, Any]) -> dict[str, Any]:
    """Those of an entry, and the tags that come with its tag_prefix."""
    prefix = given.get("tag_prefix", shared.get("tag_prefix"))
    if not prefix or "tags" in given or "tags" in shared:
        return given
    return given | {"tags": [f"{prefix}*"]}


def _same_images(registry: str, repositories: dict[str, Settings]) -> list[str]:
    """Two entries that publish as the same image, whose tags would be each other's."""
    found = []
    first: dict[str, str] = {}
    for entry, settings in repositories.items():
        image = settings.image.lower()
        if registry.lower() in _HUBS:  # there "app" is short for this
            image = image.removeprefix("library/")
        other = first.setdefault(image, entry)
        if other != entry:
            path = schema.where(["repositories", entry, "image"])
            words = f"is the image of {schema.show(other)} too"
            hint = "each entry needs one of its own"
            found.append(f"{path}: {schema.show(settings.image)} {words} ({hint})")
    return found


def merge(under: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """Both, over's values first; objects key by key, everything else as a whole."""
    merged = under | over
    for key in under.keys() & over.keys():
        if isinstance(under[key], dict) and isinstance(over[key], dict):
            merged[key] = merge(under[key], over[key])
    return merged


def _fill_in(entry: str, settings: dict[str, Any], wrong: list[str]) -> Settings:
    server = os.environ.get("GITHUB_SERVER_URL") or "https://github.com"
    settings.setdefault("repository", entry)
    settings.setdefault("url", f"{server.rstrip('/')}/{settings['repository']}.git")
    settings.setdefault("image", entry.lower())
    rules = schema.schema()["$defs"]["settings"]["properties"]
    for key in "url", "image":  # what was put together here is not checked yet
        if not re.fullmatch(rules[key]["pattern"], settings[key]):
            path = schema.where(["repositories", entry, key])
            reason = rules[key]["patternErrorMessage"]
            wrong.append(f"{path}: {schema.show(settings[key])} {reason}; set it")
    return Settings.of(settings)


def _bytes(size: int | str) -> int:
    number = str(size).rstrip("BKMGTi")
    return int(number) * _UNITS[str(size)[len(number) :] or "B"]


def main(argv: list[str]) -> int:
    if len(argv) != 1 or argv[0].startswith("-"):
        _warn("usage: python -m wrapper.config OWNER/NAME")
        return 2
    name = default_source()
    try:
        config = load(name)
    except ConfigError as e:
        _warn(e)
        return 1
    settings = config.repositories.get(argv[0])
    if settings is None:
        near = schema.nearest(argv[0], list(config.repositories))
        hint = 'add it under "repositories"'
        _warn(f"{schema.mask(name)}: {argv[0]} is not configured{near} ({hint})")
        return 2
    print(json.dumps({"builds": str(config.builds), "settings": settings.document}))
    return 0


def wanted(config: Config, event: str = "") -> list[str]:
    """The targets that any repository's "notify" names; of an event, where given."""
    found: dict[str, None] = {}
    for settings in config.repositories.values():
        wish = settings.document.get("notify") or {}
        if not event or event in wish.get("on", [event]):
            found |= dict.fromkeys(wish.get("to", []))
    return list(found)
