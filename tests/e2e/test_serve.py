"""serve as a process of its own: it and the poller come and go without each other."""

import os
import signal
import subprocess
import sys

import pytest

from tests.support.parts import ROOT, application, results, wait_for
from tests.support.web import TOKEN, Api


class Serve:
    """docker-build-server serve, with every right."""

    def __init__(self, config, log, env):
        token = config.with_name("token")
        token.write_text(TOKEN)
        token.chmod(0o600)
        command = [sys.executable, "-m", "wrapper", "serve", "--config", config]
        command += ["--listen", "127.0.0.1:0", "--token-file", token]
        command += ["--allow", "builds,steps,config,publish"]
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                command, cwd=ROOT, env=env, stdout=output, stderr=output
            )
        wait_for(lambda: b"http://" in log.read_bytes(), what=log.read_text())
        self.log = log
        self.url = "http://" + log.read_text().partition("http://")[2].partition(",")[0]

    def stop(self, number=signal.SIGTERM):
        self.process.send_signal(number)
        return self.process.wait(20)


@pytest.fixture
def serve(tmp_path, github):
    running: list[Serve] = []

    def serve(config, **env):
        server = {"GITHUB_API_URL": github.url, "GITHUB_SERVER_URL": github.url}
        given = {**os.environ, **server, "PYTHON": sys.executable, **env}
        running.append(Serve(config, tmp_path / f"serve-{len(running)}.log", given))
        return running[-1]

    yield serve
    for one in running:
        if one.process.poll() is None:
            one.stop(signal.SIGKILL)


def test_each_is_killed_while_the_other_works(
    serve, make_repo, configure, run_poller, builds, name, base_image
):
    tree = make_repo(application(base_image))
    # It runs long enough to be met while it does.
    settings = {"test": {"command": ["sh", "-c", "sleep 4"]}}
    config = configure(repositories={name: settings})
    poller = run_poller(config)
    poller.wait_for((builds / name / "state.json").exists)
    first = serve(config)
    with Api(first.url) as api:
        asked = api.post("/builds", json={"repository": name})
        where = asked.headers["Location"].removeprefix("/api/v1")
        assert first.stop(signal.SIGKILL) == -signal.SIGKILL
    # What was asked is done, and who asks anew for the answer gets it.
    second = serve(config)
    with Api(second.url) as api:
        done = wait_for(lambda: [a for a in [api.get(where)] if a.status_code == 303])
        build = done[0].headers["Location"].removeprefix("/api/v1")
        running = "running"
        wait_for(lambda: api.get(build).json()["summary"]["status"] == running)
        poller.kill()
        found = api.get("/overview").json()
        assert found["poller"]["running"] is False
        assert api.is_problem(503, "POST", "/builds", json={"repository": name})
        # The pipeline of the poller that was killed goes on, or starts over.
        poller = run_poller(config)
        poller.wait_for(lambda: results(builds, name), 120)
        wait_for(lambda: api.get(build).json()["summary"]["status"] == "success")
        assert api.get("/health").json()["running"] is True
        story = api.get(f"/why?of={build.rpartition('/')[2]}").json()
        whats = {line["what"] for line in story["lines"]}
        assert whats >= {"staged", "started", "finished"}
        tags = api.get(f"/images?repository={name}").json()["tags"]
        assert tree.head in {tag["commit"] for tag in tags}
    assert poller.stop() == 143
    assert second.stop() == 143
    assert "Traceback" not in second.log.read_text()


def test_a_step_goes_on_when_serve_is_killed(
    serve, make_repo, configure, builds, name, base_image
):
    tree = make_repo(application(base_image))
    settings = {"test": {"command": ["sh", "-c", "sleep 3; echo it went on"]}}
    config = configure(repositories={name: settings})
    first = serve(config)
    with Api(first.url) as api:
        staged = api.post("/stages", json={"repository": name, "ref": "main"})
        where = staged.headers["Location"].removeprefix("/api/v1")
        for step in "clone", "version", "build":
            done = api.post(f"{where}/steps/{step}", headers={"Prefer": "wait=120"})
            assert done.json()["exit_code"] == 0, done.text
        assert api.post(f"{where}/steps/unit-test").status_code == 202
        assert first.stop() == 143
    with Api(serve(config).url) as api:
        assert api.get(where).json()["summary"]["status"] in ("running", "staged")
        run = f"{where}/runs/unit-test"
        wait_for(lambda: api.session.get(f"{api.url}/api/v1{run}").ok, 60)
        assert api.get(run).json()["exit_code"] == 0
        assert "it went on" in api.get(f"{where}/log").text
    assert tree.head


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["--listen", "0.0.0.0:0"], "it needs a --token-file (or --public-read)"),
        (["--allow", "steps"], "--allow steps needs a --token-file"),
        (["--listen", "127.0.0.1:1", "--token-file", "/none"], "/none cannot be read"),
    ],
)
def test_called_wrongly(configure, name, arguments, words):
    command = [sys.executable, "-m", "wrapper", "serve", "--config", configure(name)]
    done = subprocess.run(
        [*command, *arguments], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 2
    assert words in done.stderr
