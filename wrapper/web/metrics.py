"""Metrics for Prometheus, computed from files when they are asked for."""

import time
from datetime import datetime
from importlib.metadata import version as package_version
from typing import Any

from prometheus_client import CollectorRegistry, Gauge, generate_latest
from prometheus_client.core import CounterMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from starlette.responses import Response

from wrapper.builds.directory import Build
from wrapper.web import branches
from wrapper.web.ask import Ask
from wrapper.web.world import World


class _Counted(Collector):
    def __init__(self, name: str, words: str, labels: list[str], counts: Any) -> None:
        self._made = CounterMetricFamily(name, words, labels=labels)
        for key, number in counts.items():
            self._made.add_metric([str(part) for part in key], number)

    def collect(self) -> list[Metric]:
        return [self._made]


def metrics(ask: Ask) -> Response:
    ask.parameters()
    made = Made()
    made.of(ask.world)
    return Response(generate_latest(made.registry), media_type=KIND)


KIND = "text/plain; version=0.0.4; charset=utf-8"


class Made:
    """One answer: a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._gauges: dict[str, Gauge] = {}

    def gauge(self, name: str, words: str, value: float | None, **labels: str) -> None:
        """None: it is not known, and left out."""
        if value is None:
            return
        one = self._gauges.get(name)
        if one is None:
            one = Gauge(name, words, list(labels), registry=self.registry)
            self._gauges[name] = one
        (one.labels(**labels) if labels else one).set(value)

    def of(self, world: World) -> None:
        version = package_version("docker-build-server")
        self.gauge("dbs_info", "Which version answers.", 1, version=version)
        running = waiting = 0
        oldest: list[float] = []
        health = world.health()
        for name in world.repositories():
            repo = branches.look(world, name)
            for branch in repo.branches:
                self._branch(world, name, branch)
            for record in repo.open:
                if record["status"] == "running":
                    running += 1
                else:
                    waiting += 1
                    oldest.append(_epoch(record["staged_at"]) or time.time())
            self._poll(name, health.get("repositories", {}).get(name) or {})
        self.gauge("dbs_builds_running", "Builds that run.", running)
        self.gauge("dbs_builds_waiting", "Builds that wait.", waiting)
        age = time.time() - min(oldest) if oldest else 0
        self.gauge("dbs_oldest_waiting_seconds", "Age of the first that waits.", age)
        self.gauge("dbs_disk_free_bytes", "Free for builds.", world.free())
        left = health.get("requests_remaining")
        self.gauge("dbs_github_requests_remaining", "Of GitHub's quota.", left)
        self.gauge("dbs_log_followers", "Live logs that are read.", world.followers)
        world.finished.look(world.builds)
        labels = ["repository", "status"]
        words = "Builds that have ended, by the journal that is kept."
        counts = world.finished.count
        self.registry.register(_Counted("dbs_builds_finished", words, labels, counts))
        words = "Webhooks, by sender and outcome."
        labels = ["sender", "outcome"]
        self.registry.register(_Counted("dbs_hooks", words, labels, world.hooks))

    def _branch(self, world: World, name: str, branch: branches.Branch) -> None:
        verdict, success = branch.verdict, branch.success
        if verdict is None:
            return
        about = {"repository": name, "ref": branch.ref}
        words = "1 for the status of the newest verdict."
        status = verdict["status"]
        self.gauge("dbs_last_build_status", words, 1, **about, status=status)
        words = "Seconds that it took."
        seconds = verdict["seconds"]
        self.gauge("dbs_last_build_duration_seconds", words, seconds, **about)
        if success is None:
            return
        words = "When a build of it last succeeded."
        at = _epoch(success["finished_at"])
        self.gauge("dbs_last_success_timestamp_seconds", words, at, **about)
        words = "Seconds of each step of the last success."
        result = Build(world.builds / name / success["id"]).result() or {}
        for step in result.get("steps") or []:
            took, step = step.get("seconds"), step.get("name")
            self.gauge("dbs_step_duration_seconds", words, took, **about, step=step)

    def _poll(self, name: str, health: dict[str, Any]) -> None:
        words = "When the repository was last asked with success."
        asked = max(float(health.get(k) or 0) for k in ("asked", "compared"))
        key = "dbs_poll_last_success_timestamp_seconds"
        self.gauge(key, words, asked or None, repository=name)
        words = "Seconds from the last push to its staging."
        self.gauge("dbs_push_lag_seconds", words, health.get("lag"), repository=name)


def _epoch(text: str | None) -> float | None:
    try:
        return datetime.fromisoformat(text or "").timestamp()
    except ValueError:
        return None
