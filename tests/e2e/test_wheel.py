"""An installed wheel works without the checkout: its scripts travel with it."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import requests

from tests.support.parts import ROOT, wait_for


@pytest.fixture(scope="session")
def installed(tmp_path_factory):
    """The console command of a wheel in an environment of its own."""
    folder = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "-q"]
    subprocess.run(
        [*pip, "wheel", "--no-deps", "-w", folder / "dist", ROOT], check=True
    )
    [wheel] = (folder / "dist").glob("*.whl")
    subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True)
    python = folder / "venv/bin/python"
    # Its dependencies are those of this environment; the package itself is not.
    subprocess.run(
        [python, "-m", "pip", "-q", "install", "--no-deps", wheel], check=True
    )
    [site] = (folder / "venv").glob("lib/*/site-packages")
    ours = [path for path in sys.path if path.endswith("site-packages")]
    (site / "dependencies.pth").write_text("\n".join(ours))
    return folder / "venv/bin/docker-build-server"


def test_a_wheel_brings_its_scripts(installed, make_repo, configure, name, tmp_path):
    tree = make_repo({"package.json": '{"version": "1.2.3"}'})
    tree.git("tag", "v1.2.3")
    tree.push("main", "v1.2.3")
    environment = {**os.environ, "GITHUB_SERVER_URL": tree.url.rsplit("/", 2)[0]}
    environment.pop("PYTHON", None)
    command = [installed, "--config", configure(name), "plan", name, "v1.2.3"]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "1.2.3" in done.stdout.split()
    where = installed.parent.parent
    scripts = {
        path.name for path in where.glob("lib/*/site-packages/wrapper/scripts/*")
    }
    assert scripts == {path.name for path in Path(ROOT, "scripts").iterdir()}


def test_a_wheel_brings_its_page(installed, configure, name, tmp_path):
    log = tmp_path / "log"
    command = [installed, "serve", "--config", configure(name)]
    with log.open("w") as output:
        process = subprocess.Popen(
            [*command, "--listen", "127.0.0.1:0"], cwd=tmp_path, stdout=output
        )
    try:
        url = re.compile(r"http://[0-9.:]+")
        address = wait_for(lambda: url.findall(log.read_text()))[0]
        for path in "/", "/static/page.js", "/api/v1/openapi.json", "/api/v1/plan":
            found = requests.get(address + path)
            assert found.status_code == (404 if path.endswith("plan") else 200)
    finally:
        process.terminate()
        assert process.wait(20) == 143
