#!/usr/bin/env bats
# Which Dockerfiles install by themselves, so that npm-install.sh does not.

load ../support/helper

setup() {
  common_setup
}

# stages DOCKERFILE [TARGET [TEST]]: all that is told of it.
stages() {
  printf %b "$1" >"$work/Dockerfile"
  awk -v target="${2-}" -v test="${3-}" -f "$scripts/lib/stages.awk" "$work/Dockerfile"
}

# installs DOCKERFILE [TARGET [TEST]]: what installs there, in a stage that is built.
installs() { stages "$@" | sed -n 's/^install\tyes\t[^\t]*\t\([^\t]*\).*/\1/p'; }

@test "each way to install what package.json names is one" {
  while IFS= read -r line; do
    [[ $(installs "FROM node\nRUN ${line//\\/\\\\}\n") ]] || { echo "not seen: $line" && return 1; }
  done <<'END'
npm ci
npm install
npm i --omit=dev
npm install --omit dev --no-audit
npm clean-install
npm --prefix web ci
NODE_ENV=production npm install
cd app && /usr/bin/npm ci --silent >/dev/null 2>&1
npm install -g npm@10 && npm ci
npm install $FLAGS
["npm", "ci"]
["sh", "-c", "npm ci"]
sh -c "npm ci"
--mount=type=cache,target=/root/.npm npm ci
if [ -f yarn.lock ]; then yarn --frozen-lockfile; elif [ -f package-lock.json ]; then npm ci; fi
yarn
yarn install --production
yarn --cwd app --frozen-lockfile
yarn workspaces focus --production
corepack enable && pnpm install --frozen-lockfile
corepack pnpm i -P
npx pnpm@8 install
npx --yes yarn@1.22.22 install
bun install
apk add git && (npm ci)
END
}

@test "other ways to use a package manager are none" {
  while IFS= read -r line; do
    [[ ! $(installs "FROM node\nRUN ${line//\\/\\\\}\n") ]] || { echo "seen: $line" && return 1; }
  done <<'END'
npm i -g pm2
npm install --global serve
npm install express
npm run build
npm cache clean --force
npm --version
yarn build
yarn --version
yarn global add serve
yarn run install-browsers
corepack enable
pnpm fetch
apt-get install -y npm
echo npm ci
# npm ci
END
}

@test "only the stages that are built count" {
  three='FROM node AS deps\nRUN npm ci\nFROM node AS build\nCOPY --from=deps /a /a\nFROM nginx\nCOPY --chown=x --from=build /a /a\n'
  [[ $(installs "$three") && $(installs "$three" build) && $(installs "$three" deps) ]]
  apart='FROM node AS Test\nRUN npm ci\nFROM node\nCOPY . .\n'
  [[ ! $(installs "$apart") && $(installs "$apart" test) && $(installs "$apart" '' test) && $(installs "$apart" '' auto) ]]
  [[ $(installs 'FROM node AS dep\nRUN npm ci\nFROM x\nRUN --mount=type=bind,from=dep,target=/x true\n') ]]
  [[ $(installs 'FROM --platform=linux/amd64 node AS a\nRUN npm ci\nFROM a\n') ]]
  [[ $(installs 'FROM a\nRUN npm ci\nFROM b\nCOPY --from=0 /x /x\n') ]]
  [[ ! $(installs 'FROM a AS node\nRUN npm ci\nFROM b AS c\nCOPY --from=other /x /x\n') ]]
  [[ ! $(installs 'FROM node AS node\nCOPY . .\n') ]]
}

@test "what is in a stage: by its own install, its base, node_modules of another, less by prune or NODE_ENV" {
  # is NAME ROLE MODULES DOCKERFILE [TARGET]: so that stage is told.
  is() { stages "$4" "${5-}" | grep -qxF "stage"$'\t'"$1"$'\t'"$2"$'\t'"$3" || { stages "$4" && return 1; }; }
  is deps testable all 'FROM node AS deps\nRUN npm ci\nFROM node\n'
  is - image - 'FROM node AS deps\nRUN npm ci\nFROM node\n'
  is deps image all 'FROM node AS deps\nRUN npm ci\nFROM node\n' DEPS
  is b testable all 'FROM node AS a\nRUN npm ci\nFROM a AS b\nFROM x\n'
  is - image all 'FROM node AS a\nRUN npm ci\nFROM x\nCOPY --from=a /app/node_modules node_modules\n'
  is - image - 'FROM node AS a\nRUN npm ci\nFROM x\nCOPY --from=a /app/dist .\n'
  is - image production 'FROM node AS a\nRUN npm ci\nFROM a\nRUN npm prune --omit=dev\n'
  is a - production 'FROM node AS a\nENV NODE_ENV=production\nRUN npm ci\nFROM a\n'
  is a testable all 'FROM node AS a\nENV NODE_ENV=production\nRUN npm ci --include=dev\nFROM x\n'
  is a - production 'FROM node AS a\nRUN yarn install --production\nFROM x\n'
  is - - all 'FROM node\nRUN npm ci\nFROM x\n'
  run stages 'ARG X=1\nFROM node\nCOPY . .\nRUN npm ci \\\n && npm run build\n'
  [[ ${lines[1]} == $'install\tyes\tyes\tnpm ci\tnpm ci && npm run build' ]]
}

@test "which installs leave development dependencies out" {
  # installs_are MODULES COMMANDS...: a stage with a RUN of such commands has those.
  installs_are() {
    for commands in "${@:2}"; do
      stages "FROM x\nRUN $commands\n" | grep -qx $'stage\t-\timage\t'"$1" || { echo "$commands: not $1" && return 1; }
    done
  }
  installs_are all 'npm ci' 'npm install' 'cd x && npm i --legacy-peer-deps && npm run build' yarn 'bun install' \
    'yarn install --network-timeout 100000 --frozen-lockfile' 'corepack yarn install' 'npx pnpm i' \
    '--mount=type=cache,target=/root/.npm npm ci' 'npm ci > /dev/null 2>&1' 'npm ci --prefix api'
  installs_are production 'npm ci --omit=dev' 'npm ci --omit dev' 'npm i --production' 'pnpm i -P' \
    'NODE_ENV=production npm ci' 'corepack enable && pnpm install --prod'
  installs_are - 'npm i -g pm2' 'npm install express' 'corepack enable' 'yarn build' 'npm run install' 'npm test'
}

@test "lines that go on, comments between them, scripts below, in letters of any case" {
  [[ $(installs 'FROM node\nRUN apt-get update && \\\n # why\n\n npm \\\n  ci\n') ]]
  [[ $(installs 'from node\nrun <<EOF\nset -e\nnpm ci\nEOF\nRUN x\n') ]]
  [[ $(installs 'FROM node\nRUN cat <<<word\nRUN npm ci\n') ]] # no heredoc
  [[ $(installs 'FROM node\nRUN echo $((1<<n))\nRUN npm ci\n') ]]
  [[ $(installs 'FROM node\nRUN <<-"END" sh\n\tnpm ci\n\tEND\nRUN x\n') ]]
  [[ $(installs 'FROM node\r\nRUN npm ci\r\n') ]]
  [[ ! $(installs 'FROM node\n# RUN npm ci\nCOPY . .\n') && ! $(installs 'FROM node\nCMD npm ci\n') && ! $(installs '') ]]
}

# skipped_or_not DOCKERFILE [SETTINGS]: what npm-install.sh does of a project with it.
skipped_or_not() {
  rm -rf "$work/app" "$work/builds"
  repository app package.json '{"name": "app", "scripts": {"preinstall": "touch ran"}}' Dockerfile "$1"
  configure app "${2-{\}}"
  stage
  steps clone npm-install
  if [[ -e $build/src/ran ]]; then
    echo installed
  else
    echo "skipped: $(<"$build/.skipped")"
  fi
}

@test "install.when: auto, always, never, and a command that is set" {
  own=$(printf 'FROM node\nCOPY . .\nRUN npm ci')
  [[ $(skipped_or_not "$own") == 'skipped: Dockerfile installs by itself: npm ci ("install.when": "always" installs here too)' ]]
  [[ $(skipped_or_not $'FROM node\nCOPY . .') == installed ]]
  [[ $(skipped_or_not "$own" '{"install": {"when": "always"}}') == installed ]]
  [[ $(skipped_or_not $'FROM node' '{"install": {"when": "never"}}') == 'skipped: "install.when" is never' ]]
  [[ $(skipped_or_not "$own" '{"install": {"command": ["touch", "ran"]}}') == installed ]]
  [[ $(skipped_or_not $'FROM node AS test\nRUN npm ci\nFROM node' '{"test": {"target": "test"}}') == skipped:* ]]
  [[ $(skipped_or_not $'FROM node AS test\nRUN npm ci\nFROM node' '{"test": {"target": "auto"}}') == skipped:* ]]
  [[ $(skipped_or_not $'FROM node AS test\nRUN npm ci\nFROM node') == installed ]]
}

@test "what was installed before is not in the context of a Dockerfile that installs" {
  skipped_or_not $'FROM node'
  mkdir "$build/src/node_modules"
  echo $'FROM node\nRUN npm ci' >"$build/src/Dockerfile"
  steps npm-install
  [[ ! -e $build/src/node_modules ]]
}

@test "an image that installs for itself gets nothing of the host's: no development dependencies, no add-on of another node" {
  repository app package.json '{"name": "app", "version": "1.0.0", "dependencies": {"a": "file:./a"}, "devDependencies": {"d": "file:./d"}}' \
    a/package.json '{"name": "a", "version": "1.0.0", "scripts": {"postinstall": "node -p process.version >built-for"}}' \
    d/package.json '{"name": "d", "version": "1.0.0"}' .npmrc 'install-links=true' .dockerignore .git Dockerfile "FROM $BASE_IMAGE
WORKDIR /app
COPY package*.json .npmrc ./
COPY a a
COPY d d
RUN npm ci --omit=dev --offline
COPY . .
RUN touch /app/node_modules/a/image"
  (cd "$work/app" && npm install --silent && rm -r node_modules)
  commit app
  configure app
  stage
  steps clone npm-install version build
  [[ -s $build/.skipped && ! -e $build/src/node_modules ]]
  run "${DOCKER:-docker}" run --rm --entrypoint ls "$(<"$build/image")" node_modules node_modules/a
  echo "$output"
  [[ $output == *built-for* && $output == *image* && ! $output =~ (^|$'\n')d($'\n'|$) ]]
  "${DOCKER:-docker}" rmi -f "$(<"$build/image")" >"$work/out"
}
