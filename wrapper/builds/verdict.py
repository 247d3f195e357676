"""How a build ended, from its result.json: in words, in brief, in seconds.

The one place for it: the terminal, the journal and GitHub say the same. Any of a
result can be missing or odd, since the file may be an older version's, or damaged.
"""

from datetime import datetime
from typing import Any

from wrapper.builds.marks import headline


def words(result: dict[str, Any]) -> str:
    """A sentence: failure at build: no Dockerfile in src/"""
    status = str(result.get("status", "unknown"))
    if status == "success":
        tests = str(result.get("tests") or "")
        skipped = f" (tests {tests})" if tests.startswith("skipped") else ""
        return f"success{skipped}: {result.get('version')}"
    message = result.get("message")
    line = headline([str(one["text"]) for one in failing(result)])
    if line:  # what failed, before who says so
        message = f"{line} ({message})" if message else line
    if status == "skipped":
        message = message or "the head commit says [skip ci]"
    step = f" at {result['failed_step']}" if result.get("failed_step") else ""
    return f"{status}{step}{f': {message}' if message else ''}"


def brief(result: dict[str, Any]) -> str:
    """A cell of a table: failure (build)"""
    step = f" ({result['failed_step']})" if result.get("failed_step") else ""
    return f"{result.get('status', 'unknown')}{step}"


def seconds(result: dict[str, Any]) -> float | None:
    """How long it ran; None where it did not, or that cannot be told.

    The steps of a success are measured finer than its two times, which are whole
    seconds; of other builds not every step is in the report.
    """
    try:
        if result.get("status") == "success" and result.get("steps"):
            return round(sum(float(step["seconds"]) for step in result["steps"]), 3)
        begin, end = (_time(result[key]) for key in ("started_at", "finished_at"))
        return end - begin
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
        return None


def pushed(result: dict[str, Any]) -> list[str]:
    """NAME:TAG@sha256:DIGEST of what a registry has confirmed."""
    names = result.get("pushed")
    return [str(name) for name in names] if isinstance(names, list) else []


def failing(result: dict[str, Any]) -> list[dict[str, Any]]:
    """The lines of console.log that say why: line (from 1), offset, text."""
    lines = result.get("failing")
    found = lines if isinstance(lines, list) else []
    keys = {"line", "offset", "text"}
    return [line for line in found if isinstance(line, dict) and keys <= line.keys()]


def published(result: dict[str, Any]) -> str:
    """Version and image tags of what was pushed: 1.2.3 as 1.2.3, 1.2, latest"""
    names = [name.partition("@")[0] for name in pushed(result)]
    tags = ", ".join(name.rpartition(":")[2] for name in names)
    return f"{result.get('version')} as {tags}"


def _time(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()
