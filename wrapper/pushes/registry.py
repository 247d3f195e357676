"""Tags that people move by hand: withdraw, promote. Nothing is pulled or pushed."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from semver import Version

from wrapper.builds import journal
from wrapper.builds.directory import now, write
from wrapper.builds.process import Failed, call
from wrapper.builds.requests import CALLED_WRONGLY, TEMPORARY, Answer, Refused
from wrapper.version import rules

OWNED = re.compile(r"v?\d+(\.\d+)*([-+.].*)?|latest|edge|sha-.*")  # by the pipeline
TAG = re.compile(r"\w[\w.-]{0,127}", re.ASCII)


class Image:
    """What a repository publishes, REGISTRY/IMAGE, and what is withdrawn of it."""

    def __init__(self, builds: Path, repository: str, name: str) -> None:
        self._builds = builds
        self._repository = repository
        self._name = name
        self._withdrawn = builds / repository / "withdrawn"

    def withdraw(self, version: str, by: str) -> Answer:
        """The aliases that stand at a version go to the highest one that is left."""
        releases = self._releases()
        found = self._known(version, releases)
        withdrawn = self._read()
        lines = [*self._lines(), f"{version} {now()} {by}"]
        if version not in withdrawn:
            self._write(lines)
        aliases = _aliases(found)
        digests = self._digests([version, *aliases])
        at_it = [a for a in aliases if digests.get(a) == digests[version]]
        left = [r for r in releases if str(r) not in withdrawn | {version}]
        return self._move(version, at_it, left, f"withdrawn by {by}", "withdraw")

    def undo(self, version: str, by: str) -> Answer:
        """It counts again: aliases go up to it where it is the highest."""
        releases = self._releases()
        found = self._known(version, releases)
        lines = [line for line in self._lines() if line.split()[:1] != [version]]
        if len(lines) == len(self._lines()):
            raise Refused(1, f"{self._repository} {version} is not withdrawn")
        self._write(lines)
        left = [r for r in releases if str(r) not in self._read()]
        aliases = _aliases(found)
        up = [a for a in aliases if max(_line(a, left)) == found]
        digests = self._digests([version, *up])
        to_move = [a for a in up if a in digests and digests[a] != digests[version]]
        words = f"no longer withdrawn, by {by}"
        return self._move(version, to_move, left, words, "withdraw")

    def promote(
        self, version: str, names: list[str], branches: Iterable[str], by: str
    ) -> Answer:
        """Names of a person's own go to a version."""
        if not rules.parse(version):
            raise Refused(CALLED_WRONGLY, f'"{version}" is no version (like 1.2.3)')
        if version in self._read():
            again = f"docker-build-server withdraw {self._repository} {version} --undo"
            raise Refused(1, f"{self._repository} {version} is withdrawn ({again})")
        taken = {re.sub(r"[^\w.-]+", "-", branch, flags=re.A) for branch in branches}
        for name in names:
            if not TAG.fullmatch(name):
                raise Refused(CALLED_WRONGLY, f'"{name}" is no image tag')
            if OWNED.fullmatch(name) or name in taken:
                words = "is a name that builds set themselves (take one of your own)"
                raise Refused(CALLED_WRONGLY, f'"{name}" {words}')
        digest = self._digests([version]).get(version)
        if digest is None:
            raise Refused(
                1, f"{self._name} has no {version} (docker-build-server images)"
            )
        self._set(digest, names)
        why = f"{version} as {', '.join(names)}, by {by}"
        self._tell("promote", why, version, digest, names)
        return Answer(0, f"{', '.join(names)}: {version}, {self._name}@{digest}")

    def _move(
        self, version: str, aliases: list[str], left: list[Version], why: str, what: str
    ) -> Answer:
        """Each alias to the highest that is left in its line; latest last."""
        said = [f"{self._repository} {version} is {why}"]
        targets = {a: max(_line(a, left), default=None) for a in aliases}
        digests = self._digests({str(t) for t in targets.values() if t} or {version})
        self._tell(what, why, version, "", [])
        for alias, target in targets.items():
            digest = digests.get(str(target))
            if target is None or digest is None:
                said.append(f"{alias} stays, as no other version is left for it")
                continue
            self._set(digest, [alias])
            said.append(f"{alias} is {target}")
            self._tell(what, f"{alias} is {target}", str(target), digest, [alias])
        return Answer(0, "; ".join(said))

    def _releases(self) -> list[Version]:
        """Those that the registry has."""
        tags = self._ask().splitlines()
        found = (
            rules.parse(tag) for tag in tags if re.fullmatch(r"\d+\.\d+\.\d+", tag)
        )
        return [version for version in found if version]

    def _known(self, version: str, releases: list[Version]) -> Version:
        for release in releases:
            if str(release) == version:
                return release
        raise Refused(
            1, f"{self._name} has no release {version} (docker-build-server images)"
        )

    def _digests(self, tags: Iterable[str]) -> dict[str, str]:
        """Of those that the registry has."""
        pairs = (line.split() for line in self._ask(*tags).splitlines())
        return {tag: digest for tag, digest in pairs}

    def _ask(self, *tags: str) -> str:
        try:
            return call("lib/ask-registry.sh", self._name, *tags, limit=120)
        except Failed as e:
            raise Refused(TEMPORARY, str(e)) from None

    def _set(self, digest: str, tags: list[str]) -> None:
        try:
            call("retag.sh", f"{self._name}@{digest}", *tags, limit=120)
        except Failed as e:
            raise Refused(
                e.code if e.code == CALLED_WRONGLY else TEMPORARY, str(e)
            ) from None

    def _tell(
        self, what: str, why: str, version: str, digest: str, tags: list[str]
    ) -> None:
        pushed = [f"{self._name}:{tag}@{digest}" for tag in tags]
        more: dict[str, Any] = {"version": version}
        if pushed:
            more["pushed"] = pushed
        journal.tell(self._builds, self._repository, what, why, **more)

    def _lines(self) -> list[str]:
        try:
            return self._withdrawn.read_text(errors="replace").splitlines()
        except FileNotFoundError:
            return []

    def _read(self) -> set[str]:
        return {line.split()[0] for line in self._lines() if line.split()}

    def _write(self, lines: list[str]) -> None:
        self._withdrawn.parent.mkdir(parents=True, exist_ok=True)
        write(self._withdrawn, "".join(f"{line}\n" for line in lines))


def _aliases(version: Version) -> list[str]:
    """Those that a release moves; latest last. None is 0."""
    major = [str(version.major)] if version.major else []
    return [f"{version.major}.{version.minor}", *major, "latest"]


def _line(alias: str, releases: list[Version]) -> list[Version]:
    """The releases that an alias may stand at."""
    if alias == "latest":
        return releases
    return [r for r in releases if f"{r}.".startswith(f"{alias}.")]
