#!/usr/bin/env bats
# The package manager that the lock file names, and what a build made cold and one made warm have in
# common: with real packages, managers and locks.

load ../support/helper

setup() {
  common_setup
  cd "$work" || return
}

# project FILE CONTENT...: of the repository in $work/app, staged and cloned.
project() {
  rm -rf app
  repository app "$@"
  configure app "${settings:-{\}}"
  next
}

# next: one more build of it.
next() {
  stage
  steps clone
  src=$build/src
}

# install: it works, and says what is in $output.
install() {
  run "$scripts/npm-install.sh" "$build"
  echo "$output" && [[ $status -eq 0 ]]
}

# lock MANAGER...: makes the lock file of app with it, and commits that. Where CI is set, yarn 4
# refuses to make one (https://yarnpkg.com/configuration/yarnrc#enableImmutableInstalls).
lock() {
  (cd app && YARN_ENABLE_IMMUTABLE_INSTALLS=0 "$@" >../out 2>&1) || { cat out && return 1; }
  rm -rf app/node_modules app/*/*/node_modules
  commit app
  next
}

one='{"name": "app", "version": "1.0.0", "dependencies": {"is-number": "7.0.0"}, "scripts": {"postinstall": "node -p process.env.npm_config_user_agent >agent"}}'

@test "yarn 1, yarn 4 and pnpm install what their lock files say, frozen, by a manager of their version" {
  for manager in yarn@1.22.22 @yarnpkg/cli-dist@4 pnpm@9; do
    project package.json "$one" .yarnrc.yml 'nodeLinker: node-modules'
    lock npx --yes "$manager" install
    install
    [[ $(jq -r .version "$src/node_modules/is-number/package.json") == 7.0.0 ]]
    name=${manager%@*} name=${name/@yarnpkg\/cli-dist/yarn}
    [[ $output == *"npm-install.sh: $name install --"* && $(<"$src/agent") == "$name/"* ]]
    [[ -z $(git -C "$src" status --porcelain -- ':!node_modules' ':!agent' ':!.yarn') ]]

    echo '{"name": "app", "dependencies": {"is-number": "6.0.0"}}' >"$src/package.json"
    fails 1 "$name install --" "$scripts/npm-install.sh" "$build"
  done
}

@test "packageManager comes before lock files; without corepack it is npx that fetches it" {
  project package.json "${one/\"version\"/\"packageManager\": \"pnpm@8.15.9\", \"version\"}" yarn.lock ''
  lock npx --yes pnpm@8.15.9 install
  mkdir bin
  for tool in /usr/bin/* /bin/* "$(command -v node)" "$(command -v npm)" "$(command -v npx)"; do
    ln -sf "$tool" bin/ 2>out || true
  done
  rm -f bin/corepack
  PATH=$work/bin install
  [[ $(<"$src/agent") == pnpm/8.15.9* ]]
}

@test "yarn's Plug'n'Play is told of, as there is no node_modules" {
  project package.json '{"name": "app", "dependencies": {"is-number": "7.0.0"}}'
  lock npx --yes @yarnpkg/cli-dist@4 install
  install
  [[ $output == *"Plug'n'Play: there is no node_modules"* && -e $src/.pnp.cjs && -n $(ls "$src/.yarn/cache") ]]
}

@test "a part of a workspace is installed at its root" {
  settings='{"context": "packages/a"}'
  project package.json '{"name": "all", "workspaces": ["packages/*"]}' \
    packages/a/package.json '{"name": "a", "version": "1.0.0", "dependencies": {"is-number": "7.0.0", "b": "1.0.0"}}' \
    packages/b/package.json '{"name": "b", "version": "1.0.0", "scripts": {"prepare": "echo made >made"}}'
  lock npm install --silent
  for _ in cold warm; do
    next
    install
    [[ $output == *"in ., the root of the workspace"* ]]
    [[ -f $src/node_modules/is-number/index.js && $(<"$src/node_modules/b/made") == made ]]
  done
  [[ $output == *"modules kept by an earlier build"* ]]
}

@test "a manager that is not here is told of, with the setting that helps" {
  settings='{"install": {"command": ["no-such-manager", "install"]}}'
  project package.json '{"name": "app"}'
  fails 1 'there is no no-such-manager here (set "install.command" to one that is, or "install.image"' "$scripts/npm-install.sh" "$build"
  rm "$build/settings/install/command"
  mkdir bin
  for tool in /usr/bin/* /bin/* "$root"/.venv/bin/*; do
    case ${tool##*/} in npm | npx | node | corepack) ;; *) ln -sf "$tool" bin/ 2>out || true ;; esac
  done
  PATH=$work/bin fails 75 'npm is not on this host (install nodejs and npm, or set "install.image"' "$scripts/npm-install.sh" "$build"
}

# files IMAGE: names, kinds, modes and contents of all files that it has in /app.
files() {
  local container folder=$work/files.$1
  container=$("$DOCKER" create "$1" true)
  mkdir "$folder"
  "$DOCKER" export "$container" | tar -x -C "$folder" app
  "$DOCKER" rm "$container" >"$work/removed"
  (cd "$folder" && find . -type f -exec sha256sum {} + && find . -printf '%p %y %m %l\n') | sort
}

# image VALUE: builds the image of this build, so that nothing of an earlier one is used; prints its
# files.
image() {
  echo "$1" >"$src/unlike"
  steps version build
  files "$(<"$build/image")" | grep -v -e unlike -e '/\.modules\.yaml$' # which has the time, by pnpm
}

# cold_and_warm: one commit without anything kept, and once more with it, is the same image.
cold_and_warm() {
  local cold warm

  commit app Dockerfile "FROM $BASE_IMAGE
WORKDIR /app
COPY . ." .dockerignore .git
  rm -rf "$work/builds/.cache"
  next
  install
  cold=$(image cold)
  next
  install
  warm=$(image warm)
  [[ $(wc -l <<<"$cold") -gt 6 ]]
  diff <(echo "$cold") <(echo "$warm")
}

# scripted SCRIPT: a package in app/, packed as a file, whose postinstall is that.
scripted() {
  mkdir -p "$work/thing"
  jq -n --arg script "$1" '{name: "thing", version: "1.0.0", scripts: {postinstall: $script}}' >"$work/thing/package.json"
}

# served: a registry with that package; $registry is its URL.
served() {
  mkdir -p registry/files package
  cp thing/package.json package/
  tar -czf registry/files/thing.tgz package
  python -um http.server --bind 127.0.0.1 --directory registry 0 >server.log 2>&1 3>&- &
  until_true grep -q 'port [0-9]' server.log
  registry=http://127.0.0.1:$(grep -om1 'port [0-9]*' server.log | cut -c6-)
  jq --arg tarball "$registry/files/thing.tgz" '{name, "dist-tags": {latest: "1.0.0"}, versions: {"1.0.0": (. + {dist: {$tarball}})}}' \
    thing/package.json >registry/thing
}

teardown() { end_jobs; }

@test "cold and warm are the same image: a script that reads the project, and writes beside node_modules" {
  scripted 'cp $INIT_CWD/schema.txt client.txt; echo $INIT_CWD/schema.txt | wc -l >../../beside.txt'
  served
  project schema.txt one .npmrc "registry=$registry" package.json '{"name": "app", "version": "1.0.0", "dependencies": {"thing": "1.0.0"}, "scripts": {"dependencies": "echo ran >dependencies.txt", "prepare": "cat schema.txt >prepared.txt"}}'
  lock npm install --silent
  cold_and_warm
  [[ $output == *"modules kept by an earlier build"* && $(<"$src/dependencies.txt") == ran ]]
  commit app schema.txt two
  next
  install
  [[ $(<"$src/node_modules/thing/client.txt") == two && -e $src/beside.txt && $(<"$src/prepared.txt") == two ]]
}

@test "cold and warm are the same image: a folder as dependency, a lock of version 1, yarn and pnpm" {
  project lib/package.json '{"name": "lib", "version": "1.0.0"}' lib/index.js one .npmrc 'install-links=true' \
    package.json '{"name": "app", "version": "1.0.0", "dependencies": {"lib": "file:./lib"}}'
  lock npm install --silent
  cold_and_warm
  commit app lib/index.js two
  next
  install
  [[ $(<"$src/node_modules/lib/index.js") == two ]]

  project package.json '{"name": "app", "version": "1.0.0", "dependencies": {"is-number": "7.0.0"}}'
  lock npm install --silent --lockfile-version 1
  cold_and_warm

  for manager in yarn@1.22.22 pnpm@9; do
    project package.json "$one"
    lock npx --yes "$manager" install
    cold_and_warm
  done
}

@test "a changed .npmrc makes a new install" {
  project package.json '{"name": "app", "version": "1.0.0", "dependencies": {"is-number": "7.0.0"}}'
  lock npm install --silent
  install
  next
  install
  [[ $output == *"nothing to install"* ]]
  commit app .npmrc 'fund=false'
  next
  install
  [[ $output != *"nothing to install"* ]]
}

@test "a dependency comes from git over https, by a certificate of our own, and is prepared" {
  mkdir site
  openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=127.0.0.1 -addext subjectAltName=IP:127.0.0.1 \
    -keyout key.pem -out cert.pem 2>out
  repository dep package.json '{"name": "dep", "version": "1.0.0", "scripts": {"prepare": "echo made >made"}}'
  git clone -q --bare dep site/dep.git
  git -C site/dep.git update-server-info
  python -uc 'import http.server as h, ssl, functools
server = h.HTTPServer(("127.0.0.1", 0), functools.partial(h.SimpleHTTPRequestHandler, directory="site"))
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain("cert.pem", "key.pem")
server.socket = context.wrap_socket(server.socket, server_side=True)
print("port", server.server_port)
server.serve_forever()' >server.log 2>errors.log 3>&- &
  until_true grep -q port server.log
  cat cert.pem "${GIT_SSL_CAINFO:-/etc/ssl/certs/ca-certificates.crt}" >all.pem
  export GIT_SSL_CAINFO=$work/all.pem
  project package.json "{\"name\": \"app\", \"version\": \"1.0.0\", \"dependencies\": {\"dep\": \"git+https://127.0.0.1:$(cut -c6- server.log)/dep.git\"}}"
  lock npm install --silent
  for _ in cold warm; do
    next
    install
    [[ $(<"$src/node_modules/dep/made") == made ]]
  done
}

@test "a native add-on compiles in the cage" {
  project binding.gyp '{"targets": [{"target_name": "add", "sources": ["add.c"]}]}' \
    add.c '#include <node_api.h>
static napi_value init(napi_env env, napi_value exports) { return exports; }
NAPI_MODULE(add, init)' \
    package.json '{"name": "app", "version": "1.0.0"}'
  lock npm install --silent --ignore-scripts
  install
  [[ -f $src/build/Release/add.node ]]
}

@test "private packages come by a secret of install.env, through a proxy as well, and not by ~/.npmrc" {
  scripted true
  served
  python -uc 'import http.server as h, sys, urllib.request as u
class Handler(h.BaseHTTPRequestHandler): # a registry that wants a token; and a proxy before it
    def do_GET(self):
        if self.headers["Authorization"] != "Bearer let-me-in-1":
            return self.send_error(401)
        path = self.path.removeprefix("http://private.example")
        body = u.urlopen(sys.argv[1] + path).read().replace(sys.argv[1].encode(), b"http://private.example")
        self.send_response(200); self.end_headers(); self.wfile.write(body)
s = h.ThreadingHTTPServer(("127.0.0.1", 0), Handler); print("port", s.server_port); s.serve_forever()' "$registry" >private.log 2>seen.log 3>&- &
  until_true grep -q port private.log
  port=$(cut -c6- private.log)
  export HOME=$work/home SECRETS=$work/secrets http_proxy=http://127.0.0.1:$port no_proxy=
  mkdir -p home secrets
  echo let-me-in-1 >secrets/NPM
  echo '//private.example/:_authToken=let-me-in-1' >home/.npmrc
  project package.json '{"name": "app", "version": "1.0.0", "dependencies": {"thing": "1.0.0"}}' \
    .npmrc $'registry=http://private.example/\nfetch-retries=0'
  fails 1 'E401, the registry wants other credentials' "$scripts/npm-install.sh" "$build"
  settings='{"install": {"env": {"NPM_TOKEN": {"secret": "NPM"}}}}'
  project package.json '{"name": "app", "version": "1.0.0", "dependencies": {"thing": "1.0.0"}}' \
    .npmrc $'registry=http://private.example/\n//private.example/:_authToken=${NPM_TOKEN}\nfetch-retries=0'
  install
  [[ -f $src/node_modules/thing/package.json ]]
  run ! grep -rl let-me-in "$build"
}
