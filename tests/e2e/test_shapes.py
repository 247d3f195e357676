"""Repositories in the shapes that real ones have: green with one setting at most, and
where one is needed the message of the build before names it.
"""

import json
import os
import subprocess
import sys

import pytest

from tests.support.parts import GIT, ROOT

pytestmark = pytest.mark.more
TEST = "node test.js"
RUNNER = {
    "runner/package.json": '{"name": "runner", "version": "1.0.0", "bin": "run.js"}',
    "runner/run.js": "#!/usr/bin/env node\nrequire(process.cwd() + '/test.js')\n",
}
PASSES = {"test.js": "console.log('the test ran')\n", ".dockerignore": "node_modules\n"}


def package(**more):
    return {"package.json": json.dumps({"name": "app", "version": "1.0.0"} | more)}


def with_runner(**more):
    """One whose tests need a development dependency."""
    about = {
        "scripts": {"test": "runner"},
        "devDependencies": {"runner": "file:runner"},
    }
    return package(**about, **more) | RUNNER | PASSES


@pytest.fixture
def shape(make_repo, configure, github, builds, name, base_image, registry):
    """shape(FILES, SETTINGS) -> result.json of a build; BASE stands for the image."""
    trees = []

    def shape(files=None, settings=None, prepare=lambda folder: None):
        if files:
            files = {f: text.replace("BASE", base_image) for f, text in files.items()}
            tree = make_repo(files)
            if "runner/run.js" in files:
                (tree.folder / "runner/run.js").chmod(0o755)
            prepare(tree)
            tree.commit()
            tree.push()
            trees.append(tree)
        config = configure(repositories={name: settings or {}})
        env = os.environ | GIT | {"GITHUB_SERVER_URL": github.url}
        env |= {"CONFIG": str(config), "PYTHON": sys.executable}
        env |= {"GIT_CONFIG_COUNT": "0"}
        stage = [ROOT / "scripts/stage.sh", name, "main"]
        build = subprocess.check_output(stage, env=env, text=True).strip()
        run = [str(ROOT / "scripts/pipeline.sh"), build]
        subprocess.run(
            run, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT
        )
        with open(f"{build}/console.log") as file:
            print(file.read())
        with open(f"{build}/result.json") as file:
            result = json.load(file)
        tested = f"{build}/tested"
        result["tested"] = ""
        if os.path.exists(tested):
            with open(tested) as file:
                result["tested"] = file.read().split("\n")[1]
        return result

    return shape


def green(result):
    assert (result["status"], result["tested"]) == ("success", "passed")


def red(result, *words):
    assert result["status"] == "failure"
    for each in words:
        assert each in result["message"]


@pytest.fixture
def lock():
    """lock(COMMAND...) -> makes the lock file in a tree."""

    def lock(*command):
        def prepare(tree):
            subprocess.run(command, cwd=tree.folder, check=True, capture_output=True)
            subprocess.run(["rm", "-rf", tree.folder / "node_modules"], check=True)

        return prepare

    return lock


NPM = "npm", "install", "--package-lock-only", "--no-audit", "--no-fund"


def test_express(shape, lock):
    dockerfile = """FROM BASE
ENV NODE_ENV=production
WORKDIR /app
COPY package*.json ./
RUN npm ci --omit=dev
COPY . .
"""
    files = with_runner() | {"Dockerfile": dockerfile}
    files[".dockerignore"] = "node_modules\nrunner\n"
    red(shape(files, prepare=lock(*NPM)), '"test.mount": true')
    green(shape(settings={"test": {"mount": True}}))


@pytest.mark.parametrize("kind", ["typescript", "vite", "nest"])
def test_stages(shape, lock, kind):
    last = {
        "typescript": "FROM BASE\nWORKDIR /app\nCOPY package*.json ./\n"
        "COPY runner runner\nRUN npm ci --omit=dev\nCOPY --from=build /app/dist dist",
        "vite": "FROM BASE\nRUN rm -f /usr/local/bin/npm\n"
        "COPY --from=build /app/dist /usr/share/nginx/html",
        "nest": "FROM BASE AS production\nENV NODE_ENV=production\nWORKDIR /app\n"
        "COPY package*.json ./\nCOPY runner runner\n"
        "RUN npm ci --only=production && npm cache clean --force\n"
        "COPY --from=build /app/dist ./dist",
    }
    dockerfile = f"""FROM BASE AS deps
WORKDIR /app
COPY package*.json ./
COPY runner runner
RUN npm ci
FROM deps AS build
COPY . .
RUN mkdir dist && cp test.js dist
{last[kind]}
"""
    files = with_runner() | {"Dockerfile": dockerfile}
    red(shape(files, prepare=lock(*NPM)), '"test.target"', "deps, build", '"auto"')
    green(shape(settings={"test": {"target": "auto"}}))


def test_workspaces(shape, lock):
    files = {
        **package(workspaces=["packages/*"], scripts={"test": "npm test --workspaces"}),
        "packages/lib/test.js": "",
        "packages/lib/package.json": json.dumps(
            {"name": "lib", "scripts": {"test": TEST}}
        ),
        "packages/lib/index.js": "module.exports = 7\n",
        "packages/api/package.json": json.dumps(
            {"name": "api", "dependencies": {"lib": "*"}, "scripts": {"test": TEST}}
        ),
        "packages/api/test.js": "if (require('lib') !== 7) process.exit(1)\n",
        "packages/api/Dockerfile": "FROM BASE\nWORKDIR /app\nCOPY . .\nRUN npm ci\n",
        ".dockerignore": ".git\n",
    }
    result = shape(files, prepare=lock(*NPM))
    red(result, '"dockerfile": "packages/api/Dockerfile"')
    green(shape(settings={"dockerfile": "packages/api/Dockerfile"}))


@pytest.mark.parametrize("manager", ["yarn@1.22.22", "pnpm@9", ""])
def test_other_managers_and_no_lock(shape, lock, manager):
    about = {"scripts": {"test": TEST}, "dependencies": {"is-number": "7.0.0"}}
    files = package(**about) | {
        "test.js": "if (!require('is-number')(7)) process.exit(1)\n",
        "Dockerfile": "FROM BASE\nWORKDIR /app\nCOPY . .\n",
        ".dockerignore": ".git\n",
    }
    command = ["npx", "--yes", manager, "install"] if manager else ["true"]
    green(shape(files, prepare=lock(*command)))


def test_a_native_add_on(shape, lock):
    """Built for the node in the image, not for the host's."""
    files = package(scripts={"test": TEST}, dependencies={"addon": "file:addon"}) | {
        "addon/package.json": json.dumps(
            {
                "name": "addon",
                "version": "1.0.0",
                "scripts": {"install": "node make.js"},
            }
        ),
        "addon/make.js": "const os = require('os'), fs = require('fs')\n"
        "const text = `module.exports = '${os.hostname()}'`\n"
        "fs.writeFileSync(__dirname + '/built.js', text)\n",
        "test.js": "const built = require('addon/built.js')\n"
        f"if (built === {os.uname().nodename!r}) process.exit(1)\n",
        "Dockerfile": "FROM BASE\nWORKDIR /app\nCOPY package*.json ./\n"
        "COPY addon addon\nRUN npm ci\nCOPY . .\n",
    }
    green(shape(files, prepare=lock(*NPM)))


def test_a_database(shape, docker, base_image, name):
    server = "require('net').createServer(s => s.end('row')).listen(5432)"
    made = f"FROM {base_image}\nCMD {json.dumps(['node', '-e', server])}\n"
    command = [
        os.environ.get("DOCKER", "docker"),
        "build",
        "-q",
        "-t",
        f"{name}-db",
        "-",
    ]
    subprocess.run(command, input=made, text=True, check=True, capture_output=True)
    files = package(scripts={"test": TEST}) | {
        "test.js": "const row = require('net').connect(5432, 'db')\n"
        "row.on('data', () => process.exit())\n",
        "Dockerfile": "FROM BASE\nWORKDIR /app\nCOPY . .\n",
        ".dockerignore": ".git\n",
    }
    red(shape(files), "test.services")
    ready = [
        "node",
        "-e",
        "require('net').connect(5432).on('data', () => process.exit())",
    ]
    services = {"db": {"image": f"{name}-db", "ready": ready}}
    green(shape(settings={"test": {"services": services}}))


def test_lfs_objects(shape, github, name):
    """From a server without an API: git's own LFS reads it from the same folder."""
    github.create(name)
    url = f"file://{github.repository(name).path}"

    def prepare(tree):
        tree.git("lfs", "install", "--local")
        tree.git("lfs", "track", "*.bin")
        (tree.folder / "large.bin").write_text("what LFS keeps\n")
        tree.git("remote", "set-url", "origin", url)

    files = package(scripts={"test": "grep -q 'what LFS keeps' large.bin"}) | {
        "Dockerfile": "FROM BASE\nWORKDIR /app\nCOPY . .\n",
        ".dockerignore": ".git\n",
    }
    green(shape(files, {"url": url}, prepare))


def test_a_submodule(shape, make_repo, name):
    make_repo({"part.js": "module.exports = 3\n"}, name=f"{name}-part")

    def prepare(tree):
        tree.git(
            "submodule", "add", "-q", tree.url.replace(name, f"{name}-part"), "part"
        )

    files = package(scripts={"test": TEST}) | {
        "test.js": "if (require('./part/part.js') !== 3) process.exit(1)\n",
        "Dockerfile": "FROM BASE\nWORKDIR /app\nCOPY . .\n",
        ".dockerignore": ".git\n",
    }
    green(shape(files, prepare=prepare))
