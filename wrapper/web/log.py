"""console.log of a build, as bytes: all of it, a range, what one step printed."""

import os
import re
from collections.abc import AsyncIterator

from starlette.responses import Response, StreamingResponse

from wrapper.builds.directory import Build
from wrapper.web.ask import Ask, Problem
from wrapper.web.live import follow
from wrapper.web.progress import runs, steps
from wrapper.web.reader import Place, place

BLOCK = 1 << 18  # bytes read at once
FOLLOWERS = 512
TAIL = 65536  # bytes before the live log begins
_RANGE = re.compile(r"bytes=(\d*)-(\d*)")


def raw(ask: Ask) -> Response:
    """The bytes, with Range as HTTP has it; step: what that one printed."""
    given = ask.parameters("step")
    build = ask.build()
    begin, end = _bounds(build, given.get("step"))
    length = end - begin
    headers = {
        "X-Build-Status": build.state(),
        "Accept-Ranges": "bytes",
        "Cache-Control": "no-cache",
    }
    status = 200
    wanted = _RANGE.fullmatch(ask.headers.get("range", ""))
    if wanted and (wanted[1] or wanted[2]):
        first = int(wanted[1]) if wanted[1] else max(0, length - int(wanted[2]))
        last = int(wanted[2]) if wanted[1] and wanted[2] else length - 1
        last = min(last, length - 1)
        if first > last:
            headers["Content-Range"] = f"bytes */{length}"
            raise Problem(416, f"the log has {length} bytes")
        status = 206
        headers["Content-Range"] = f"bytes {first}-{last}/{length}"
        begin, end = begin + first, begin + last + 1
    headers["Content-Length"] = str(end - begin)
    kind = "text/plain; charset=utf-8"
    if ask.method == "HEAD":
        return Response(None, status, headers, kind)
    return StreamingResponse(_read(build, begin, end), status, headers, kind)


def _bounds(build: Build, step: str | None) -> tuple[int, int]:
    """Of what is asked for, in the file."""
    try:
        size = os.stat(build.path / "console.log").st_size
    except FileNotFoundError:
        size = 0
    if step is None:
        return 0, size
    for each in steps(build.path):
        if each.name == step:
            return min(each.offset, size), min(
                size if each.end is None else each.end, size
            )
    if run := runs(build.path).get(step):  # it was called by itself
        return min(int(run["offset"]), size), min(int(run["end"]), size)
    raise Problem(404, f"the build has no step {step} (yet)")


async def _read(build: Build, begin: int, end: int) -> AsyncIterator[bytes]:
    """So many bytes exactly: a log that was cut meanwhile ends the connection."""
    if begin == end:
        return
    file = os.open(build.path / "console.log", os.O_RDONLY | os.O_CLOEXEC)
    try:
        while begin < end and (data := os.pread(file, min(BLOCK, end - begin), begin)):
            begin += len(data)
            yield data
    finally:
        os.close(file)


def events(ask: Ask) -> Response:
    """The live log, as server-sent events."""
    given = ask.parameters("tail", "from")
    build, world = ask.build(), ask.world
    tail = given.get("tail") or str(TAIL)
    if tail != "all" and not tail.isdigit():
        raise Problem(422, "tail: must be a number of bytes, or all")
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    known = ask.headers.get("last-event-id") or given.get("from") or ""
    start = place(build, known, None if tail == "all" else int(tail))
    if start == Place.END:
        return Response(status_code=204, headers=headers)
    kind = "text/event-stream"
    if ask.method == "HEAD":
        return Response(None, 200, headers, kind)
    if world.followers >= FOLLOWERS:
        words = f"{FOLLOWERS} follow logs already (see /log for what there is)"
        raise Problem(503, words, retry_after=10)
    return StreamingResponse(follow(world, build, start), 200, headers, kind)
