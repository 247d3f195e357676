"""What all calls share: the options, the builds, the configuration as it is now."""

import os
import shutil
import threading
from pathlib import Path
from typing import Any

from wrapper.builds import overview, requests
from wrapper.builds.store import Store
from wrapper.config import source
from wrapper.config.load import Config, ConfigError, resolve, usual_builds
from wrapper.web.finished import Finished
from wrapper.web.options import Options, Secrets
from wrapper.web.records import Records


class World:
    """Owns no state: what it keeps is read again when the file has changed."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.closing = threading.Event()  # the process ends: so do streams
        self.steps: dict[str, Any] = {}  # by build, those that we have begun
        self.hooks: dict[tuple[str, str], int] = {}  # (sender, outcome): how many
        self.followers = 0  # of live logs
        self.changing = threading.Lock()
        self.writing = threading.Lock()  # config.json
        self._mark: tuple[int, ...] | None = None  # of the file that was read last
        self._config: Config | None = None
        self.reason = ""  # why what is there now cannot be used
        found = self.config()
        self.builds = found.builds if found else usual_builds(options.source)
        self.store = Store(self.builds)
        self.records = Records()
        self.finished = Finished()
        self.secrets = Secrets(options.hook_secret_file, 16)

    def config(self) -> Config | None:
        """The last good one; None: there has been none yet, and `reason` says why."""
        with self.changing:
            mark = self._stat()
            if mark is None or mark != self._mark:
                self._mark = mark
                try:
                    content = source.read(str(self.config_file))
                    self._config = resolve(content, self.options.source)
                    self.reason = ""
                except ConfigError as e:
                    self.reason = str(e)
            return self._config

    @property
    def config_file(self) -> Path:
        """Of a URL the copy that the poller keeps."""
        if source.is_url(self.options.source):
            return Path(os.environ.get("BUILDS") or ".", "config.json")
        return Path(self.options.source)

    def _stat(self) -> tuple[int, ...] | None:
        try:
            about = self.config_file.stat()
        except (OSError, ValueError):
            return None
        return about.st_mtime_ns, about.st_ino, about.st_size

    def repositories(self) -> list[str]:
        found = self.config()
        return list(found.repositories) if found else []

    def stored(self) -> list[str]:
        """Repositories that have builds, whether they are configured or not."""
        return ["/".join(f.parts[-2:]) for f in self.store.repositories()]

    def poller_runs(self) -> bool:
        return requests.poller_runs(self.builds)

    def health(self) -> dict[str, Any]:
        """What the poller has written of itself; {} where it has not."""
        return overview.health(self.builds)

    def paused(self, repository: str | None = None) -> bool:
        folder = f"{self.builds}/{repository}" if repository else f"{self.builds}"
        return os.path.exists(f"{folder}/.pause")

    def free(self) -> int | None:
        """Bytes of the disk of the builds."""
        try:
            return shutil.disk_usage(self.builds).free
        except OSError:
            return None

    def poller(self) -> dict[str, Any]:
        """How the poller goes, by what it has written down."""
        health = self.health()
        known = health.get("repositories", {})
        trouble = {n: h["trouble"] for n, h in known.items() if h.get("trouble")}
        free = self.free()
        return {
            "running": self.poller_runs(),
            "paused": self.paused(),
            "held": "; ".join(health.get("host") or []) or None,
            "statuses": health.get("statuses") or None,
            "trouble": trouble,
            "configuration": self.reason or None,
            "requests_remaining": health.get("requests_remaining"),
            # Rounded, since each answer would differ else.
            "disk_free_bytes": None if free is None else free >> 27 << 27,
        }
