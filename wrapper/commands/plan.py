"""docker-build-server plan: what a ref would become, without building anything."""

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from wrapper import screen
from wrapper.builds.directory import Build
from wrapper.builds.process import Failed, call
from wrapper.config.load import Config
from wrapper.pushes.stager import stage


def run(config: Config, repository: str, ref: str | None, as_json: bool = False) -> int:
    """Prints version, image tags and labels of a ref, else of the default branch.
    as_json: as one object, with commit and ref.

    Exit code 0; 1 with the reason, where it would get none; 2 for an unknown name.
    """
    settings = config.repositories.get(repository)
    if settings is None:
        hint = 'add it under "repositories"'
        print(f"{repository} is not configured ({hint})", file=sys.stderr)
        return 2
    with _folder(config.builds) as builds:
        try:
            build = stage(repository, settings, builds, ref or "").path
            earlier = config.builds / repository
            _run("clone", build, earlier, settings.timeouts["clone"])
            printed = _run("version", build, earlier, settings.timeouts["version"])
        except Failed as e:
            print(e, file=sys.stderr)
            return 1
        image = f"{config.registry}/{settings.image}"
        version = (build / "version").read_text().strip()
        tags = (build / "tags").read_text().splitlines()
        if as_json:
            print(json.dumps(_document(Build(build), image, version, tags)))
            return 0
        screen.text(f"version  {version}")
        for words in (build / ".origin").read_text().splitlines():
            screen.text(f"because  {words.removeprefix(f'{version}: ')}")
        for tag in tags:
            screen.text(f"tag      {image}:{tag}")
        if not tags:  # the last words of version.sh are why
            screen.text(f"tag      {printed.rpartition(f'{version}, ')[2].strip()}")
        for label in (build / "labels").read_text().rstrip("\n").split("\n"):
            screen.text(f"label    {label}")
    return 0


@contextmanager
def _folder(builds: Path) -> Iterator[Path]:
    """A builds folder of its own, which shares the mirror of the real one; but for
    another user than that one's, who leaves nothing there, not even as root.
    """
    cache = builds / ".cache"
    if builds.exists() and builds.stat().st_uid != os.geteuid():
        with TemporaryDirectory(prefix="plan.") as folder:
            yield Path(folder)
        return
    cache.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix="plan.", dir=cache) as folder:
        Path(folder, ".cache").symlink_to(cache)
        yield Path(folder)


def _document(
    build: Build, image: str, version: str, tags: list[str]
) -> dict[str, object]:
    """tags: those to publish, in full; labels: by key."""
    lines = (build.path / "labels").read_text().rstrip("\n").split("\n")
    return {
        "format": 1,
        "repository": build.info.get("repository"),
        "ref": build.ref,
        "commit": build.commit,
        "version": version,
        "tags": [f"{image}:{tag}" for tag in tags],
        "labels": dict(line.split("=", 1) for line in lines if "=" in line),
    }


def _run(step: str, build: Path, earlier: Path, limit: float) -> str:
    """What a step prints. Raises Failed, with the reason that it has written down.

    earlier: where the repository's real builds are
    """
    # No submodules, no files of Git LFS.
    env = {"HISTORY_ONLY": "1", "EARLIER": str(earlier)}
    try:
        return call(f"{step}.sh", str(build), env=env, limit=limit)
    except Failed as e:
        record = build / f"runs/{step}.json"
        said = json.loads(record.read_bytes())["message"] if record.exists() else None
        raise Failed(e.code, said or str(e)) from e
