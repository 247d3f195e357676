"""A folder of builds as a server left it, and serve on it."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.web import Api, serving
from wrapper.builds.directory import Build

COMMIT = "1a2b3c4" + "0" * 33


class Folder:
    """builds, and the config.json that names it."""

    def __init__(self, path: Path) -> None:
        self.builds = path / "builds"
        self.config = path / "config.json"
        self.builds.mkdir()
        self.configure("o/n", "o/other")

    def configure(self, *names: str, **more: Any) -> bytes:
        config = {"registry": "127.0.0.1:5000", "builds": "builds"} | more
        config["repositories"] = {name: {} for name in names}
        content = json.dumps(config, indent=2).encode()
        half = self.config.with_suffix(".half")
        half.write_bytes(content)
        half.rename(self.config)
        return content

    def build(
        self,
        number: int = 1,
        status: str | None = "success",
        log: bytes = b"",
        name: str = "o/n",
        ref: str = "refs/heads/main",
        source: str = "event",
        **result: Any,
    ) -> Build:
        """A build of a repository, by its number in time; None: without a result."""
        id = f"20261122T0510{number // 60:02}.{number % 60:06}Z-1a2b3c4"
        path = self.builds / name / id
        path.mkdir(parents=True)
        info = {"format": 1, "id": id, "repository": name, "ref": ref}
        info |= {"commit": COMMIT, "source": source, "settings": {}}
        info |= {
            "staged_at": "2026-11-22T05:10:00Z",
            "url": f"https://example.com/{name}",
        }
        (path / "build.json").write_text(json.dumps(info))
        if log:
            (path / "console.log").write_bytes(log)
        if status:
            about: dict[str, Any] = {"format": 1, "status": status, "failed_step": None}
            about |= {"exit_code": 0, "message": None, "failing": [], "steps": []}
            about |= {"started_at": "2026-11-22T05:10:00Z", "image": None, "pushed": []}
            about |= {"finished_at": "2026-11-22T05:11:00Z", "version": "1.2.3"}
            (path / "result.json").write_text(json.dumps(about | result))
        return Build(path)


@pytest.fixture
def folder(tmp_path):
    return Folder(tmp_path)


@pytest.fixture
def api(folder):
    """Its configuration may be changed before and after; the token has every right."""
    with serving(folder.config) as (url, _), Api(url) as one:
        yield one
