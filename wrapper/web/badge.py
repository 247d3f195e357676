"""A badge: the newest verdict of a branch, as a picture or for shields.io."""

import html

from starlette.responses import JSONResponse, Response

from wrapper.web import branches
from wrapper.web.ask import Ask
from wrapper.web.branches import Branch, is_red

GREEN, RED, AMBER, GREY = "#1a7f4b", "#c22f3d", "#9a6200", "#6b7280"
WIDTH = 6.6  # pixels of a character, about, at 11 px


def _verdict(ask: Ask) -> tuple[str, str, str]:
    """Label, words and colour."""
    given = ask.parameters("branch", "label")
    name = ask.configured(ask.repository)
    label = given.get("label", "build")[:60]
    repo = branches.look(ask.world, name)
    wanted = given.get("branch")
    found = branches.main(repo)
    if wanted:
        found = next((b for b in repo.branches if _is(b, wanted)), None)
    if found is None or found.verdict is None:
        return label, "no builds", GREY
    status = found.verdict["status"]
    if is_red(found.verdict):
        return label, status, RED if status == "failure" else AMBER
    return label, found.verdict["version"] or "passing", GREEN


def _is(branch: Branch, name: str) -> bool:
    return branch.ref in (name, f"refs/heads/{name}", f"refs/tags/{name}")


def shields(ask: Ask) -> Response:
    """https://shields.io/badges/endpoint-badge"""
    label, words, colour = _verdict(ask)
    document = {"schemaVersion": 1, "label": label, "message": words}
    document |= {"color": colour, "isError": colour in (RED, AMBER)}
    return JSONResponse(document, headers={"Cache-Control": "max-age=60"})


def svg(ask: Ask) -> Response:
    label, words, colour = _verdict(ask)
    left, right = (round(len(t) * WIDTH) + 12 for t in (label, words))
    label, words = html.escape(label), html.escape(words)
    picture = f"""<svg xmlns="http://www.w3.org/2000/svg" width="{left + right}" \
height="20" role="img" aria-label="{label}: {words}"><title>{label}: {words}</title>\
<clipPath id="r"><rect width="{left + right}" height="20" rx="3"/></clipPath>\
<g clip-path="url(#r)"><rect width="{left}" height="20" fill="#444c56"/>\
<rect x="{left}" width="{right}" height="20" fill="{colour}"/></g>\
<g fill="#fff" text-anchor="middle" font-size="11" \
font-family="Verdana,DejaVu Sans,sans-serif"><text x="{left / 2}" y="14">{label}</text>\
<text x="{left + right / 2}" y="14">{words}</text></g></svg>"""
    headers = {"Cache-Control": "max-age=60"}
    return Response(picture, headers=headers, media_type="image/svg+xml")
