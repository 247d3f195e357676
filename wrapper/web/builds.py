"""Builds as they stand in their directories: a list, one of them, its files."""

import stat
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from starlette.responses import FileResponse, Response

from wrapper.builds.directory import Build, Newer, is_id, read_json
from wrapper.config.schema import steps as names
from wrapper.web.ask import Ask, Problem, answer, checked
from wrapper.web.progress import document as step_document
from wrapper.web.progress import runs, steps
from wrapper.web.records import tag

LOOKED_AT = 2000  # builds, by one list
FILES = ("version", "tags", "labels", "image", "tested", "pushed")
PARTS = (*FILES, "src", "console.log", "result.json", "reports", "cancelled")


def newest(ask: Ask) -> Response:
    """The newest builds that fit; with more of them behind, Link says where."""
    given = ask.parameters(
        "repository", "ref", "status", "commit", "source", "before", "limit"
    )
    limit = given.get("limit", "30")
    if not limit.isdigit() or not 1 <= int(limit) <= 100:
        raise Problem(422, "limit: must be from 1 to 100")
    before = given.get("before", "9")
    if "before" in given and not is_id(before):
        raise Problem(422, "before: must be a build's ID")
    if 0 < len(given.get("commit", "1234")) < 4:
        raise Problem(422, "commit: must have 4 or more digits")
    repository = given.get("repository") and checked(given["repository"])
    found: list[dict[str, Any]] = []
    last = ""
    looked = 0
    for build in ask.world.store.newest(repository or None):
        if build.id >= before:
            continue
        looked += 1
        if len(found) == int(limit) or looked > LOOKED_AT:
            break
        last = build.id
        if _fits(build, given):
            record = ask.world.records.of(build)
            if given.get("status") in (None, record["status"]):
                found.append(record)
    else:
        last = ""
    headers = {}
    if last:
        query = urlencode(given | {"before": last})
        headers["Link"] = f'</api/v1/builds?{query}>; rel="next"'
    return unless_known(ask, {"builds": found}, headers)


def _fits(build: Build, given: dict[str, str]) -> bool:
    """As far as build.json tells, which is read only when that is asked for."""
    if ref := given.get("ref"):
        names = (ref, f"refs/heads/{ref}", f"refs/tags/{ref}")
        if build.ref not in names:
            return False
    if commit := given.get("commit"):
        short = build.id[-7:]
        if not (short.startswith(commit[:7]) and build.commit.startswith(commit)):
            return False
    return given.get("source") in (None, build.info.get("source"))


def unless_known(
    ask: Ask, document: dict[str, Any], more: dict[str, str] | None = None
) -> Response:
    """With an ETag; 304 where the caller has this already."""
    made = answer(document, 200, more)
    etag = tag(bytes(made.body))
    headers = {"ETag": etag, "Cache-Control": "no-cache"}
    if etag in [one.strip() for one in ask.headers.get("if-none-match", "").split(",")]:
        return Response(status_code=304, headers=headers)
    made.headers.update(headers)
    return made


def one(ask: Ask) -> Response:
    """All that is known of a build."""
    ask.parameters()
    build = ask.build()
    world, folder = ask.world, build.path
    result = build.result()
    begun = steps(folder)
    running = begun[-1].name if begun and begun[-1].status is None else None
    try:
        info = read_json(folder / "build.json")
    except Newer as e:
        info = {"status": str(e)}
    document = {
        "summary": world.records.of(build),
        "build": info,
        "result": result,
        "steps": [step_document(step) for step in begun],
        "step": running if result is None else None,
        "runs": runs(folder),
        "files": [name for name in PARTS if (folder / name).exists()],
        "log": _size(folder / "console.log"),
        "order": names(),
        "poller": world.poller(),
        "rights": sorted(ask.rights),
    }
    return unless_known(ask, document)


def file(ask: Ask) -> Response:
    """A file of the build as it is; nothing but results and reports is ever served."""
    ask.parameters()
    name, folder = ask.at["file"], ask.build().path
    path = folder / name
    if name in FILES:
        if not _regular(path):
            raise Problem(404, f"the build has no {name} (yet)")
        return FileResponse(path, media_type="text/plain; charset=utf-8")
    if name.startswith("reports/") and _inside(folder / "reports", path):
        kind = "application/octet-stream"
        return FileResponse(path, media_type=kind, filename=path.name)
    words = f"{', '.join(FILES)} and reports/… are served"
    raise Problem(404, f"{name} is not there, or not to be had: {words}")


def _inside(folder: Path, path: Path) -> bool:
    """A file below the folder, on a way without links: reports come from strangers."""
    if not _regular(path):
        return False
    return path.resolve() == folder.resolve() / path.relative_to(folder)


def _regular(path: Path) -> bool:
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except (OSError, ValueError):
        return False


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
