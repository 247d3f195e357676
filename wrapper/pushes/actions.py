"""What the poller does on request: each in a thread of its own, the queue goes on.

A request's arguments are those that the command or the API gave: names of repositories
and builds, never paths.
"""

from collections.abc import Callable, Mapping
from pathlib import Path

from wrapper.builds import ending, journal
from wrapper.builds.directory import Build, folders, now, read_json
from wrapper.builds.process import Failed
from wrapper.builds.requests import CALLED_WRONGLY, TEMPORARY, Answer, Refused, Request
from wrapper.builds.what import Unclear, build_at, find
from wrapper.config.load import Settings
from wrapper.config.schema import nearest, steps
from wrapper.pushes.forget import forget
from wrapper.pushes.registry import Image
from wrapper.pushes.stager import stage, wake
from wrapper.version import rules

BUSY = 69


class Actions:
    """perform() may be called in any thread."""

    def __init__(
        self,
        builds: Path,
        repositories: Callable[[], Mapping[str, Settings]],
        reopen: Callable[[Build], object],
        later: Callable[[Callable[[], object]], object],
    ) -> None:
        """repositories: as they are configured now.

        reopen is told, in the queue's thread, of a build that is to run once more;
        later has a call made there, and then a look at the queue.
        """
        self._builds = builds
        self._repositories = repositories
        self._reopen = reopen
        self._later = later
        self._known: dict[str, Callable[[Request], Answer]] = {
            "trigger": self._trigger,
            "rerun": self._rerun,
            "cancel": self._cancel,
            "pause": self._pause,
            "resume": self._resume,
            "withdraw": self._withdraw,
            "promote": self._promote,
            "forget": self._forget,
        }

    def perform(self, request: Request) -> Answer:
        """Raises Refused."""
        work = self._known.get(request.what)
        if work is None:
            words = (
                f"this poller does not know {request.what} (is it an older version?)"
            )
            raise Refused(CALLED_WRONGLY, words)
        return work(request)

    def _trigger(self, request: Request) -> Answer:
        """repository, ref: a ref, or WHAT means a build; version: what it is to be."""
        name, what = request.wanted("repository"), request.text("ref") or ""
        settings, version = self._settings(name), request.text("version") or ""
        if version and not rules.parse(version):
            raise Refused(CALLED_WRONGLY, f'"{version}" is no SemVer (like 1.2.3)')
        try:
            build = self._stage(name, settings, what, version.removeprefix("v"))
        except Failed as e:
            raise Refused(e.code if e.code in (1, 2) else TEMPORARY, str(e)) from None
        why = f"asked for by trigger, {request.by}"
        journal.tell(self._builds, name, "staged", why, build=build)
        wake(self._builds)
        return Answer(0, str(build.path), build.name)

    def _stage(self, name: str, settings: Settings, what: str, version: str) -> Build:
        """What the remote does not know may be a build here, for its ref and commit."""
        why = {"SOURCE": "trigger", "RELEASE_AS": version}
        try:
            return stage(name, settings, self._builds, what, **why)
        except Failed as e:
            if e.code != 1 or not what:
                raise
            try:
                known = find(self._builds, name, what)
            except Unclear:
                raise e from None
        ref, commit = known.ref, known.commit
        return stage(name, settings, self._builds, ref, commit, **why)

    def _rerun(self, request: Request) -> Answer:
        """build, from: a step."""
        build, step = self._build(request), request.text("from") or ""
        if step and step not in steps():
            known = ", ".join(steps())
            raise Refused(CALLED_WRONGLY, f"{step} is no step (one of {known})")
        if not build.ours:
            advice = f"FROM={step or 'clone'} scripts/pipeline.sh {build.path}"
            raise Refused(1, f"{build.name} was staged by hand ({advice})")
        if build.newer:
            raise Refused(1, f"{build.name} was written by a newer version")
        if not build.reopen(step):
            raise Refused(BUSY, f"{build.name} is {build.state()} (cancel it first)")
        where = f"from {step}" if step else "from the first step"
        why = f"{where}, asked for by {request.by}"
        journal.tell(self._builds, build.repository, "rerun", why, build=build)
        self._later(lambda: self._reopen(build))
        return Answer(0, str(build.path), build.name)

    def _cancel(self, request: Request) -> Answer:
        """build"""
        build = self._build(request)
        if build.result() is None:
            why = f"asked for by {request.by}"
            journal.tell(self._builds, build.repository, "cancel", why, build=build)
        return ending.cancel(build)

    def _pause(self, request: Request) -> Answer:
        """repository, else all."""
        file, name = self._pause_file(request)
        file.parent.mkdir(parents=True, exist_ok=True)
        if not file.exists():
            file.write_text(f"{now()} {request.by}\n")
            journal.tell(self._builds, name, "pause", f"asked for by {request.by}")
        return Answer(0, f"{name} is paused: pushes are recorded, nothing starts")

    def _resume(self, request: Request) -> Answer:
        """repository, else all."""
        file, name = self._pause_file(request)
        if not file.exists():
            return Answer(0, f"{name} is not paused")
        file.unlink(missing_ok=True)
        journal.tell(self._builds, name, "resume", f"asked for by {request.by}")
        self._later(lambda: None)
        return Answer(0, f"{name} goes on")

    def _withdraw(self, request: Request) -> Answer:
        """repository, version, undo: true or not given."""
        image, version = self._image(request), _version(request)
        if request.arguments.get("undo"):
            return image.undo(version, request.by)
        return image.withdraw(version, request.by)

    def _promote(self, request: Request) -> Answer:
        """repository, version, names"""
        image, version = self._image(request), _version(request)
        names = request.arguments.get("names")
        texts = isinstance(names, list) and all(isinstance(n, str) for n in names)
        if not names or not isinstance(names, list) or not texts:
            raise Refused(CALLED_WRONGLY, "promote: names is no list of names")
        folder = self._builds / request.wanted("repository")
        refs = (read_json(folder / "state.json") or {}).get("refs") or {}
        heads = [r.removeprefix("refs/heads/") for r in refs if "refs/heads/" in r]
        return image.promote(version, names, heads, request.by)

    def _forget(self, request: Request) -> Answer:
        """repository, that is not configured any more."""
        name = request.wanted("repository")
        if name in self._repositories():
            raise Refused(1, f"{name} is still configured (take it out of config.json)")
        if name not in ["/".join(f.parts[-2:]) for f in folders(self._builds)]:
            raise Refused(CALLED_WRONGLY, f"nothing is known of {name}")
        return forget(self._builds, name, request.by)

    def _image(self, request: Request) -> Image:
        name = request.wanted("repository")
        settings = self._settings(name)
        registry = settings.document["registry"]
        return Image(self._builds, name, f"{registry}/{settings.image}")

    def _pause_file(self, request: Request) -> tuple[Path, str]:
        name = request.text("repository")
        if name is None:
            return self._builds / ".pause", "everything"
        if not (self._builds / name).is_dir() or name.count("/") != 1 or ".." in name:
            self._settings(name)
        return self._builds / name / ".pause", name

    def _build(self, request: Request) -> Build:
        name = request.wanted("build")
        if build := build_at(self._builds, name):
            return build
        raise Refused(
            CALLED_WRONGLY, f"{name} is no build (docker-build-server status)"
        )

    def _settings(self, name: str) -> Settings:
        repositories = self._repositories()
        if settings := repositories.get(name):
            return settings
        near = nearest(name, list(repositories))
        words = f'{name} is not configured{near} (add it under "repositories")'
        raise Refused(CALLED_WRONGLY, words)


def _version(request: Request) -> str:
    """As an image tag has it, without the v of a git tag."""
    version = request.wanted("version")
    return version.removeprefix("v") if rules.parse(version) else version
