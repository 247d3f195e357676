"""Which tags and labels an image gets: pure functions."""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from semver import Version

from wrapper.version.rules import digest

# What each placeholder of a `publish` template can stand for.
_GRAMMAR = {
    "version": r"\d+\.\d+\.\d+(-.*)?",
    "major": r"\d+",
    "minor": r"\d+",
    "patch": r"\d+",
    "branch": r".*",
    "sha": r"[0-9a-f]{7}",
}
_NUMBERS = {"major", "minor", "patch"}
_BLANK = re.compile(r"[\s\x00-\x1f\x7f-\x9f]+")  # line ends, and what moves a cursor
_PLACEHOLDER = re.compile(r"\{(\w*)\}")


def image_tags(
    version: Version,
    ref: str,
    commit: str,
    publish: list[str],
    releases: Iterable[Version],
) -> list[str]:
    """The tags of an image in the order to push them: full version first, latest last.

    publish: templates. Those with {version} or {sha} apply to every build, those with
    {branch} to a branch's. All others are aliases: they move to a release without build
    metadata, if none of `releases` with the same numbers is higher; {major} is never 0.
    ValueError: a template that no tag can come of.
    """
    branch = _branch(ref)
    values = {name: str(getattr(version, name)) for name in _NUMBERS}
    values |= {"branch": branch, "sha": commit[:7]}
    values["version"] = str(version).replace("+", "-")
    ranked: dict[str, int] = {}
    for template in publish:
        used = set(_PLACEHOLDER.findall(template))
        if unknown := used - _GRAMMAR.keys():
            raise ValueError(f'publish: "{template}" has an unknown {{{min(unknown)}}}')
        if _meant_for(used, version, branch, releases):
            continue
        tag = _PLACEHOLDER.sub(lambda match: values[match[1]], template)
        if "branch" in used:
            tag = _apart(tag, [t for t in publish if "{branch}" not in t])
        if not re.fullmatch(r"\w[\w.-]*", tag, re.ASCII):
            raise ValueError(
                f'publish: "{template}" makes "{tag}", which is no image tag'
            )
        if len(tag) > 128:
            tag = f"{tag[:119]}-{digest(tag)}"
        rank = 3 if _is_alias(used) else 2 if "branch" in used else 1
        rank = 0 if "version" in used else 4 if template == "latest" else rank
        ranked.setdefault(tag, rank)
    return sorted(ranked, key=ranked.__getitem__)


def why_none(
    version: Version, ref: str, publish: list[str], releases: Iterable[Version]
) -> str:
    """Why `publish` gives this build no tag, in one line."""
    meant: dict[str, list[str]] = {}
    for template in publish:
        used = set(_PLACEHOLDER.findall(template))
        others = _meant_for(used, version, _branch(ref), releases)
        meant.setdefault(others, []).append(f'"{template}"')
    has = ", ".join(f"{', '.join(some)} for {others}" for others, some in meant.items())
    return f'nothing will be published: publish has only {has} (add "{{version}}")'


def _branch(ref: str) -> str:
    return ref.removeprefix("refs/heads/") if ref.startswith("refs/heads/") else ""


def _is_alias(used: set[str]) -> bool:
    return "version" not in used and (
        bool(used & _NUMBERS) or not used & {"branch", "sha"}
    )


def _meant_for(
    used: set[str], version: Version, branch: str, releases: Iterable[Version]
) -> str:
    """Which other builds a template with these placeholders is for; "" if for this."""
    line = used & _NUMBERS
    if "branch" in used and not branch:
        return "branches"
    if not _is_alias(used):
        return ""
    if version.prerelease:
        return "releases"
    if version.build:
        return "releases without build metadata"
    if line == {"major"} and not version.major:
        return "releases from 1.0.0"
    higher = [
        other
        for other in releases
        if other > version
        and not other.prerelease
        and not other.build
        and all(getattr(other, n) == getattr(version, n) for n in line)
    ]
    return f"releases from {max(higher)}" if higher else ""


def _apart(tag: str, others: list[str]) -> str:
    """A branch's tag, with a digest where another branch or template may have it."""
    clean = re.sub(r"[^\w.-]+", "-", tag, flags=re.ASCII).lstrip(".-")
    if (
        clean == tag
        and not re.search(r"(^|-)[0-9a-f]{8}$", tag)  # as if it had a digest
        and not any(re.fullmatch(_pattern(other), tag) for other in others)
    ):
        return tag
    return f"{clean[:119]}-{digest(tag)}".lstrip("-")


def _pattern(template: str) -> str:
    parts = _PLACEHOLDER.split(template)  # text, name, text, name, …, text
    names = [_GRAMMAR.get(name, "") for name in parts[1::2]] + [""]
    return "".join(
        re.escape(text) + name for text, name in zip(parts[::2], names, strict=True)
    )


def labels(
    version: Version, commit: str, date: str, url: str, package: Mapping[str, Any]
) -> Iterator[str]:
    """KEY=VALUE, the keys of the OCI image spec; the last ones from package.json."""
    # A browser's address rather than git's, and no secrets in an image.
    page = re.sub(r"^(https?://)(?:[^/@]*@)?(.*?)(?:\.git)?/?$", r"\1\2", url)
    license_ = package.get("license")
    if isinstance(license_, dict):  # as npm had it once
        license_ = license_.get("type")
    found = {
        "created": date,
        "revision": commit,
        "version": str(version),
        "source": page,
        "url": page,
        "title": package.get("name"),
        "description": package.get("description"),
        "licenses": license_,
    }
    for key, value in found.items():
        if isinstance(value, str) and (text := _BLANK.sub(" ", value).strip()):
            yield f"org.opencontainers.image.{key}={text}"
