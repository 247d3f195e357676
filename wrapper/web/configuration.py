"""config.json over HTTP: read, checked, replaced in one moment, without a restart."""

import hashlib
import os
from pathlib import Path
from typing import Any

from starlette.responses import FileResponse, Response

from wrapper.builds import journal
from wrapper.config import source
from wrapper.config.load import Config, ConfigError, resolve
from wrapper.config.schema import mask
from wrapper.web.ask import Ask, Problem, answer

SCHEMA = Path(__file__).parent.with_name("config.schema.json")
BEFORE = ".config.before.json"  # in the builds folder: what the last PUT replaced


def get(ask: Ask) -> Response:
    """Its bytes."""
    ask.parameters()
    content = _content(ask)
    headers = {"ETag": _etag(content), "Cache-Control": "no-cache"}
    if headers["ETag"] in ask.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    return Response(content, headers=headers, media_type="application/json")


def schema(ask: Ask) -> Response:
    ask.parameters()
    return FileResponse(SCHEMA, media_type="application/json")


def put(ask: Ask) -> Response:
    """Replaces it, if it still is what the caller has read."""
    dry = ask.parameters("dry_run").get("dry_run") == "1"
    after = _resolve(ask)
    if not dry:
        path = _path(ask)
        with ask.world.writing:
            content = _content(ask)
            _match(ask, content)
            try:
                _keep(ask.world.builds / BEFORE, content)
                _replace(path, ask.body)
            except OSError as e:
                words = f"{path} cannot be written: {e.strerror}"
                raise Problem(409, f"{words} (who may write its folder?)") from None
    else:
        content = _content(ask)
    try:
        before = resolve(content, ask.world.options.source)
    except ConfigError:
        before = None
    changed = _changes(before, after)
    if not dry:
        words = "; ".join(f"{k}: {', '.join(v)}" for k, v in changed.items() if v)
        why = f"by {ask.by}: {words or 'no repository differs'}"
        journal.tell(ask.world.builds, "config", "configured", why)
    etag = _etag(content if dry else ask.body)
    return answer(changed, 200, {"ETag": etag})


def _resolve(ask: Ask) -> Config:
    try:
        return resolve(ask.body, ask.world.options.source)
    except ConfigError as e:
        errors = []
        for words in e.problems:
            path, colon, detail = words.rpartition(": ")
            if ": " in words:
                path, colon, detail = words.partition(": ")
            errors.append({"path": path if colon else "", "detail": detail})
        raise Problem(422, "; ".join(e.problems)[:2000], errors=errors) from None


def _content(ask: Ask) -> bytes:
    try:
        return source.read(str(ask.world.config_file))
    except ConfigError as e:
        raise Problem(409, str(e)) from None


def _etag(content: bytes) -> str:
    return f'"{hashlib.sha256(content).hexdigest()[:32]}"'


def _match(ask: Ask, content: bytes) -> None:
    wanted = ask.headers.get("if-match", "")
    if not wanted:
        words = "PUT takes If-Match, the ETag of what it replaces"
        raise Problem(428, f"{words} (GET /api/v1/config has it)")
    if wanted.strip() != "*" and _etag(content) not in wanted:
        words = "config.json was changed since you read it"
        raise Problem(412, f"{words} (GET it again)")


def _path(ask: Ask) -> Path:
    """The file to replace. Raises Problem where it lives elsewhere."""
    name = ask.world.options.source
    if source.is_url(name):
        raise Problem(409, f"the configuration lives at {mask(name)}: change it there")
    path = Path(name)
    if (path.parent / "..data").is_symlink():
        words = f"{path} is a Kubernetes ConfigMap"
        raise Problem(409, f"{words} (change that: kubectl edit configmap …)")
    return Path(os.path.realpath(path))


def _keep(path: Path, content: bytes) -> None:
    half = path.with_name(f"{path.name}.tmp")
    half.write_bytes(content)
    half.replace(path)


def _replace(path: Path, content: bytes) -> None:
    """In one moment, synced; mode and owner stay."""
    about = path.stat()
    if not os.access(path, os.W_OK):
        raise PermissionError(13, "it is not writable for this server")
    half = path.with_name(f".{path.name}.tmp")
    with open(half, "wb") as file:
        os.fchmod(file.fileno(), about.st_mode & 0o7777)
        if (about.st_uid, about.st_gid) != (os.geteuid(), os.getegid()):
            os.fchown(file.fileno(), about.st_uid, about.st_gid)
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    half.replace(path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _changes(before: Config | None, after: Config) -> dict[str, Any]:
    """Names of repositories, by what became of them."""
    was = {} if before is None else before.repositories
    now = after.repositories
    both = was.keys() & now.keys()
    differ = [name for name in both if was[name].document != now[name].document]
    return {
        "added": sorted(now.keys() - was.keys()),
        "removed": sorted(was.keys() - now.keys()),
        "changed": sorted(differ),
    }
