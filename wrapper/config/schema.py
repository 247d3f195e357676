"""config.schema.json at work: the defaults, and what is wrong with a document.

No file is read here but the schema itself.
"""

import difflib
import json
import math
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

_TYPES = {
    "object": "an object",
    "array": "a list",
    "string": "a string",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "null": "null",
}
_LIMITS = {
    "minimum": "must be at least {}",
    "exclusiveMinimum": "must be more than {}",
    "maximum": "must be at most {}",
    "maxLength": "must have at most {} characters",
    "minItems": "must not be empty",
    "maxItems": "must have at most {} entries",
    "maxProperties": "must have at most {} keys",
    "uniqueItems": "has an entry twice",
}


@cache
def schema() -> dict[str, Any]:
    text = (
        Path(__file__)
        .parent.with_name("config.schema.json")
        .read_text(encoding="utf-8")
    )
    document: dict[str, Any] = json.loads(text)
    return document


def steps() -> list[str]:
    """The steps of a build, in order; scripts/lib/steps.sh has the same list."""
    limits = schema()["$defs"]["settings"]["properties"]["timeouts"]
    return list(limits["properties"])


def defaults(part: dict[str, Any]) -> dict[str, Any]:
    """The defaults of an object's keys, of objects inside it too, as a new document."""
    found: dict[str, Any] = {}
    for key, value in part["properties"].items():
        if "default" in value:
            found[key] = json.loads(json.dumps(value["default"]))
        elif "properties" in value:
            found[key] = defaults(value)
    return found


def where(keys: list[str | int]) -> str:
    """A path as a person would write it: repositories."o/n".branches[0]"""
    parts = ""
    for key in keys:
        if isinstance(key, int):
            parts += f"[{key}]"
        else:
            parts += "." + (key if re.fullmatch(r"[\w$-]+", key) else show(key))
    return parts[1:]


def show(value: object) -> str:
    """A value as JSON for a message: short, and without a password from a URL."""
    text = json.dumps(value, ensure_ascii=False)
    text = mask(text)
    return text if len(text) <= 80 else text[:77] + "..."


def printable(text: str) -> str:
    """With an escape for each character that could control a terminal, or hide."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def mask(text: str) -> str:
    return re.sub(r"(?<=//)[^\s\"/@]*@|[^\s\"/@:]+:[^\s\"/@]*@", "...@", text)


class Document(dict[str, Any]):
    """A JSON object that knows which of its keys were given twice."""

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        super().__init__(pairs)
        names = [name for name, _ in pairs]
        self.twice = sorted({n for n in names if names.count(n) > 1})


def parse(text: str) -> Any:
    """JSON as the standard has it. ValueError says where it is not, in one line."""
    if text.startswith("\ufeff"):
        raise ValueError("begins with a byte order mark; save it as UTF-8 without one")
    if not text.strip():
        raise ValueError("is empty; the least is a registry and repositories")
    try:
        return json.loads(text, object_pairs_hook=Document)
    except json.JSONDecodeError as e:
        reason = f"{e.msg[0].lower()}{e.msg[1:]}"
        if text.startswith(("//", "/*", "#"), e.pos):
            reason = "JSON has no comments"
        raise ValueError(f"line {e.lineno} column {e.colno}: {reason}") from None


def problems(document: Any) -> list[str]:
    """Everything wrong with a parsed config.json, each as "PATH: reason"."""
    from jsonschema.exceptions import ValidationError
    from jsonschema.validators import Draft202012Validator, extend

    def fullmatch(_: Any, pattern: str, value: Any, __: Any) -> Iterator[Any]:
        # re.search, the library's way, lets "$" match before a final newline
        if isinstance(value, str) and not re.fullmatch(pattern, value):
            yield ValidationError("")

    whole = Draft202012Validator.TYPE_CHECKER.redefine(
        "integer", lambda _, value: type(value) is int
    )
    validator = extend(  # type: ignore[no-untyped-call]
        Draft202012Validator, {"pattern": fullmatch}, type_checker=whole
    )
    found = list(_unfit_for_json(document, []))
    for error in validator(schema()).iter_errors(document):
        found += _in_words(error)
    return list(dict.fromkeys(found))


def _unfit_for_json(value: Any, at: list[str | int]) -> Iterator[str]:
    """What Python's parser lets through."""
    if isinstance(value, Document):
        for key in value.twice:
            yield f"{where([*at, key])}: given twice"
        for key, inner in value.items():
            yield from _unfit_for_json(inner, [*at, key])
    elif isinstance(value, str) and re.search("[\ud800-\udfff]", value):
        yield f"{where(at)}: half a surrogate pair is no character"
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _unfit_for_json(inner, [*at, index])
    elif isinstance(value, float) and not math.isfinite(value):
        yield f"{where(at)}: NaN, Infinity and numbers as large are no JSON"


def _in_words(error: Any) -> Iterator[str]:
    value, limit = error.instance, error.validator_value
    at = list(error.absolute_path)
    if "propertyNames" in error.absolute_schema_path:
        at.append(value)
    path = where(at) or "the document"
    if error.validator == "additionalProperties":
        known = list(error.schema["properties"])
        for key in value.keys() - known:
            yield f"{where([*at, key])}: unknown{nearest(key, known)}"
    elif error.validator == "required":
        for key in limit:
            if key not in value:
                yield f"{where([*at, key])}: missing"
    elif error.validator == "type":
        names = [limit] if isinstance(limit, str) else limit
        kinds = " or ".join(_TYPES[name] for name in names)
        hint = ', as in ["npm", "test"]' if at[-1:] == ["command"] else ""
        yield f"{path}: {show(value)} must be {kinds}{hint}"
    elif error.validator == "enum":
        near = nearest(value, limit) if isinstance(value, str) else ""
        yield f"{path}: {show(value)} must be one of {show(limit)[1:-1]}{near}"
    elif error.validator == "pattern":
        yield f"{path}: {show(value)} {error.schema['patternErrorMessage']}"
    else:
        yield f"{path}: {show(value)} {_LIMITS[error.validator].format(limit)}"


def nearest(word: str, known: list[str]) -> str:
    near = difflib.get_close_matches(word, known, 1)
    return f", did you mean {show(near[0])}?" if near else ""
