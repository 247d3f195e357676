"""docker-build-server plan: what a ref would become, without building anything."""

import json
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from wrapper.builds.process import Failed, call
from wrapper.config.load import Config
from wrapper.console import line
from wrapper.pushes.stager import stage


def run(config: Config, repository: str, ref: str | None) -> int:
    """Prints version, image tags and labels of a ref, else of the default branch.

    Exit code 0; 1 with the reason, where it would get none; 2 for an unknown name.
    """
    settings = config.repositories.get(repository)
    if settings is None:
        hint = 'add it under "repositories"'
        print(f"{repository} is not configured ({hint})", file=sys.stderr)
        return 2
    cache = config.builds / ".cache"
    cache.mkdir(parents=True, exist_ok=True)
    # A builds folder of its own, which shares the mirror of the real one.
    with TemporaryDirectory(prefix="plan.", dir=cache) as folder:
        builds = Path(folder)
        (builds / ".cache").symlink_to(cache)
        try:
            build = stage(repository, settings, builds, ref or "").path
            _run("clone", build, settings.timeouts["clone"])
            printed = _run("version", build, settings.timeouts["version"])
        except Failed as e:
            print(e, file=sys.stderr)
            return 1
        image = f"{config.registry}/{settings.image}"
        version = (build / "version").read_text().strip()
        print(f"version  {version}")
        tags = (build / "tags").read_text().splitlines()
        for tag in tags:
            print(f"tag      {image}:{tag}")
        if not tags:  # the last words of version.sh are why
            print(f"tag      {line(printed.rpartition(f'{version}, ')[2].strip())}")
        for label in (build / "labels").read_text().rstrip("\n").split("\n"):
            print(f"label    {line(label)}")
    return 0


def _run(step: str, build: Path, limit: float) -> str:
    """What a step prints. Raises Failed, with the reason that it has written down."""
    history = {"HISTORY_ONLY": "1"}  # no submodules, no files of Git LFS
    try:
        return call(f"{step}.sh", str(build), env=history, limit=limit)
    except Failed as e:
        record = build / f"runs/{step}.json"
        said = json.loads(record.read_bytes())["message"] if record.exists() else None
        raise Failed(e.code, said or str(e)) from e
