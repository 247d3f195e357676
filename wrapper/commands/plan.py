"""docker-build-server plan: what a ref would become, without building anything."""

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
            for step in "clone.sh", "version.sh":
                call(step, str(build), limit=settings.timeouts[step[:-3]])
        except Failed as e:
            print(e, file=sys.stderr)
            return 1
        image = f"{config.registry}/{settings.image}"
        print(f"version  {(build / 'version').read_text().strip()}")
        for tag in (build / "tags").read_text().splitlines():
            print(f"tag      {image}:{tag}")
        for label in (build / "labels").read_text().rstrip("\n").split("\n"):
            print(f"label    {line(label)}")
    return 0
