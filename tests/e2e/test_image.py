"""The server's own image: its own pipeline builds it, and compose runs it."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.parts import GIT, ROOT, application, results, wait_for

COMPOSE = ROOT / "scripts/image/compose.yaml"


def own_files() -> list[str]:
    """Those that git has of this checkout, or would add."""
    command = ["git", "-C", str(ROOT), "ls-files", "-co", "--exclude-standard"]
    listed = subprocess.check_output(command, text=True).splitlines()
    return [file for file in listed if (ROOT / file).is_file()]


def test_its_own_pipeline_builds_it(
    make_repo, configure, run_poller, builds, name, debian_image, registry
):
    tree = make_repo()
    settings = {
        "dockerfile": "scripts/image/Dockerfile",
        "build_args": {"BASE": debian_image},
        "test": {"command": ["docker-build-server", "--version"]},
    }
    poller = run_poller(configure(repositories={name: settings}))
    poller.said("noted main")
    for file in own_files():
        target = tree.folder / file
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / file, target, follow_symlinks=False)
    tree.commit(message="feat: the server")
    tree.git("tag", "v0.9.0")
    tree.push("main", "v0.9.0")
    poller.wait_for(lambda: len(results(builds, name)) == 2, 500)
    for result in results(builds, name):
        assert result["status"] == "success", poller.output
        assert result["tests"] == "passed"
    assert {"0.9.0", "latest", "main"} <= registry.tags(name)
    config = registry.config(name, "latest")["config"]
    assert config["Cmd"] == ["docker-build-server", "poll"]


@pytest.fixture(scope="session")
def registry_image(docker, debian_image):
    """Debian's registry in place of Docker Hub's."""
    name = f"docker-build-server/registry:{os.getpid()}"
    server = '["docker-registry", "serve", "/etc/docker/registry/config.yml"]'
    file = f"""FROM {debian_image}
RUN apt-get update && apt-get install -y docker-registry
CMD {server}
"""
    command = [os.environ.get("DOCKER", "docker"), "build", "--quiet", "-t", name, "-"]
    environment = os.environ | {"DOCKER_BUILDKIT": "1"}
    subprocess.run(command, input=file, env=environment, text=True, check=True)
    yield name
    docker("rmi", name)


@pytest.fixture
def compose(docker, server_image, registry_image, tmp_path, github):
    """compose(ARGS…): docker-compose on a FOLDER of the test's own; taken down."""
    folder = tmp_path / "served"
    folder.mkdir()
    environment = {
        **os.environ,
        "COMPOSE_PROJECT_NAME": f"test{os.getpid()}",
        "FOLDER": str(folder),
        "IMAGE": server_image,
        "PORT": "0",
        "REGISTRY_PORT": "0",
        "REGISTRY_IMAGE": registry_image,
        "SOCKET": os.environ.get("DOCKER_HOST", "").removeprefix("unix://"),
        "GITHUB_API_URL": github.url,
        "GITHUB_SERVER_URL": github.url,
    }
    environment["SOCKET"] = environment["SOCKET"] or "/var/run/docker.sock"

    def compose(*args: str) -> str:
        command = ["docker-compose", "-f", str(COMPOSE), *args]
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    yield compose
    print(compose("logs", "--no-color"))
    compose("down", "--volumes", "--timeout", "30")


def test_compose_brings_poller_page_and_registry(
    compose, tmp_path, make_repo, base_image, name, docker, registry
):
    folder = tmp_path / "served"
    tree = make_repo(application(base_image))
    about = {
        "registry": registry.address,
        "disk_free_min": 0,
        "poll": {"interval": 0.1, "sweep": 3600},
        "repositories": {name: {}},
    }
    (folder / "config.json").write_text(json.dumps(about))
    compose("up", "-d")
    state = folder / "builds" / name / "state.json"
    wait_for(state.exists, 60, compose("logs", "--no-color"))
    tree.commit({"app.js": "// new\n"})
    tree.push()
    wait_for(lambda: results(folder / "builds", name), 120, "a result")
    [result] = results(folder / "builds", name)
    assert result["status"] == "success", compose("logs", "--no-color")
    console = (folder / "builds" / name / "latest/console.log").read_text()
    assert "without a cage" not in console
    said = compose("logs", "--no-color")
    assert "listening" in said or "http://127.0.0.1" in said
    assert "not at that path" not in said


def test_in_a_container_it_says_what_the_engine_cannot_see(
    docker, server_image, configure, tmp_path, builds
):
    config = configure()
    socket = os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock")
    inside = "/elsewhere"
    words = docker(
        *("run", "--rm", "--network=host", f"--env=DOCKER_HOST={socket}"),
        *(f"-v={socket[7:]}:{socket[7:]}", f"-v={tmp_path}:{inside}"),
        *(server_image, "docker-build-server", "poll", "--once"),
        *("--config", f"{inside}/{config.name}"),
    )
    assert f"{inside}/builds is not at that path on the engine's host" in words
    assert words.count("engine's host") == 1
    assert f"-v {inside}/builds:{inside}/builds" in words
    assert Path(builds).is_dir()


def test_make_image_builds_it(server_image, debian_image, docker):
    tag = f"{server_image}-made"
    make = ["make", "-s", "-C", str(ROOT), "image", f"BASE={debian_image}"]
    subprocess.run([*make, f"TAG={tag}"], env=os.environ | GIT, check=True)
    assert docker("run", "--rm", tag, "docker-build-server", "--version")
    docker("rmi", tag)
