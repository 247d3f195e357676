"""The page: files of ours, as they are; what they show they ask of the API."""

from pathlib import Path

from starlette.responses import FileResponse, Response

from wrapper.web.ask import Ask, Problem

HERE = Path(__file__).parent
STATIC = {path.name: path for path in (HERE / "static").iterdir() if path.is_file()}
KINDS = {
    ".html": "text/html",
    ".css": "text/css",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
}


def page(ask: Ask) -> Response:
    """One document for all of them; what it shows hangs on its address."""
    return _file(STATIC["index.html"])


def static(ask: Ask) -> Response:
    path = STATIC.get(ask.at["file"])
    if path is None:
        raise Problem(404, f"{ask.at['file']} is no file of the page")
    return _file(path)


def openapi(ask: Ask) -> Response:
    """The description of the API, as it is written."""
    ask.parameters()
    return FileResponse(HERE / "openapi.json", media_type="application/json")


def _file(path: Path) -> Response:
    headers = {"Cache-Control": "no-cache"}
    return FileResponse(path, headers=headers, media_type=KINDS[path.suffix])
