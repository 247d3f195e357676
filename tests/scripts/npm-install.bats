# npm-install.sh: npm as a careful person would call it, and told apart: whose fault it is when that fails.

setup() {
  load ../support/helper
  common_setup
  cd "$work" || return
}

teardown() { [[ ! ${server-} ]] || kill "$server"; }

# project [FILE CONTENT]...: a commit with these files, staged with $settings and cloned; $src is its checkout.
project() {
  repository app README.md text "$@"
  jq -n --arg url "file://$work/app" --argjson more "${settings:-{\}}" '
    {registry: "127.0.0.1:1", repositories: {"o/n": ({$url} + $more)}}' >config.json
  build=$(CONFIG=config.json "$scripts/stage.sh" o/n)
  steps clone
  src=$build/src
}

# package KEY...: a package.json with these, as text; lock [NAME VERSION]: a lock file with nothing in it, or that.
package() { echo "{\"name\": \"app\", \"version\": \"1.0.0\"${1:+, $1}}"; }
lock() {
  jq -n --arg name "${1-}" --arg version "${2-}" '{name: "app", version: "1.0.0", lockfileVersion: 3, requires: true, packages: (
    {"": ({name: "app", version: "1.0.0"} + if $name == "" then {} else {dependencies: {($name): $version}} end)}
    + if $name == "" then {} else {"node_modules/\($name)": {$version}} end)}'
}

# install: it works, and says what is in $output.
install() {
  run "$scripts/npm-install.sh" "$build"
  echo "$output" && [[ $status -eq 0 ]]
}

# tree: every file of the checkout but node_modules, with its content.
tree() { find "$src" -path "$src/.git" -prune -o -name node_modules -prune -o -type f -exec sha256sum {} +; }

# registry: an npm registry at $registry with what publish puts there.
registry() {
  mkdir -p registry/files
  python -um http.server --bind 127.0.0.1 --directory registry 0 >server.log 2>&1 3>&- &
  server=$!
  until_true grep -q 'port [0-9]' server.log
  registry=http://127.0.0.1:$(grep -om1 'port [0-9]*' server.log | cut -c6-)
}

# publish NAME VERSION [JSON]: with more in its package.json.
publish() {
  mkdir -p package
  jq -n --arg name "$1" --arg version "$2" --argjson more "${3-{\}}" '{$name, $version} + $more' >package/package.json
  tar -czf "registry/files/$1-$2.tgz" package
  [[ -f registry/$1 ]] || echo "{\"name\": \"$1\"}" >"registry/$1"
  jq --arg name "$1" --arg version "$2" --arg tarball "$registry/files/$1-$2.tgz" \
    --argjson more "${3-{\}}" '."dist-tags".latest = $version | .versions[$version] = {$name, $version, dist: {$tarball}} + $more' "registry/$1" >published
  # That server tells changes by the second alone, and npm takes what is old for what stays.
  publications=$((${publications:-EPOCHSECONDS} + 1))
  touch -d "@$publications" published
  mv published "registry/$1"
}

@test "it keeps the promises of a step" {
  is_a_step npm-install
}

@test "without a checkout it is exit 2" {
  configure nowhere
  stage refs/heads/main "$(printf '%040d' 1)"
  fails 2 "has no src (run the steps before this one first)" "$scripts/npm-install.sh" "$build"
}

@test "with a lock file it is npm ci: exactly what is locked, from the real registry, and twice is fine" {
  project package.json "$(package '"dependencies": {"is-number": "^7.0.0"}')" package-lock.json "$(lock is-number ^7.0.0 | sed 's/"\^7.0.0"$/"7.0.0"/; s/"version": "^7/"version": "7/')"
  before=$(tree)
  install
  [[ $output == *"npm-install.sh: npm ci "* && $(tree) == "$before" ]]
  [[ $(jq -r .version "$src/node_modules/is-number/package.json") == 7.0.0 && -d $work/builds/.cache/install/o/n/npm ]]
  install
  [[ $(jq -r .version "$src/node_modules/is-number/package.json") == 7.0.0 && ! $(git -C "$src" status --porcelain -- ':!node_modules') ]]
}

@test "without a lock file nothing in the tree changes but node_modules" {
  registry
  publish thing 1.0.0
  project package.json "$(package '"dependencies": {"thing": "*"}')" .npmrc "registry=$registry"
  before=$(tree)
  install
  [[ $output == *"npm-install.sh: npm install --no-package-lock"* && $(tree) == "$before" && -f $src/node_modules/thing/package.json ]]
}

@test "a version that was published after npm's cache was filled is found" {
  registry
  publish thing 1.0.0
  project package.json "$(package '"dependencies": {"thing": "*"}')" .npmrc "registry=$registry"
  install
  publish thing 1.1.0
  rm -r "$src/node_modules"
  install # and no update is missed for good
  [[ $(jq -r .version "$src/node_modules/thing/package.json") == 1.1.0 ]]
  for version in 1.2.0 1.3.0; do
    publish thing $version
    package "\"dependencies\": {\"thing\": \"$version\"}" >"$src/package.json"
    lock thing $version >"$src/package-lock.json"
    install
    [[ $(jq -r .version "$src/node_modules/thing/package.json") == "$version" ]]
  done
}

@test "npm-shrinkwrap.json is a lock file" {
  project package.json "$(package)" npm-shrinkwrap.json "$(lock)"
  install
  [[ $output == *"npm-install.sh: npm ci "* ]]
}

@test "without package.json there is nothing to do, and a parent's is left alone" {
  project
  for folder in "$build" "${build%/*}" "$work"; do
    package '"scripts": {"preinstall": "touch ran"}, "dependencies": {"no-such-thing-at-all": "1"}' >"$folder/package.json"
  done
  install
  [[ $output == "npm-install.sh: skipped: no package.json in ., nothing to install" && ! $(find "$work" -name ran -o -name node_modules) ]]
}

@test "a context has its own package.json; one of the checkout's root is left alone" {
  settings='{"context": "web app/a"}'
  project package.json "$(package '"scripts": {"preinstall": "touch ran"}')" "web app/a/package.json" "$(package '"scripts": {"preinstall": "pwd >here"}')"
  install
  [[ $(<"$src/web app/a/here") == "$src/web app/a" && ! -e $src/ran ]]
  rm "$src/web app/a/package.json"
  install
  [[ $output == *"no package.json in web app/a"* && ! -e $src/ran ]]
}

@test "a context that is not there is exit 1, and names the setting" {
  settings='{"context": "web"}'
  project package.json "$(package)"
  fails 1 'the repository has no folder web (see "context"' "$scripts/npm-install.sh" "$build"
  echo file >"$src/web"
  fails 1 'the repository has no folder web' "$scripts/npm-install.sh" "$build"
}

@test "a lock file out of step is exit 1, with advice" {
  project package.json "$(package '"dependencies": {"thing": "1"}')" package-lock.json "$(lock)"
  fails 1 'npm ci --prefer-offline --no-audit --no-fund failed: the lock file is out of step (mend it by npm install, and commit it)' "$scripts/npm-install.sh" "$build"
  [[ $output == *'can only install packages when your package.json and package-lock.json'* ]]
  [[ $(<"$build/.message") == "npm-install.sh: npm ci "* ]]
}

@test "a package.json that is none is exit 1" {
  project package.json '{"name": '
  fails 1 'npm install --no-package-lock' "$scripts/npm-install.sh" "$build"
}

@test "a package that does not exist is exit 1" {
  registry
  project package.json "$(package '"dependencies": {"thing": "1"}')" .npmrc "registry=$registry"
  fails 1 "failed: E404, thing@1 is not in the registry $registry" "$scripts/npm-install.sh" "$build"
}

@test "a registry that cannot be reached, or errs, is exit 75" {
  project package.json "$(package '"dependencies": {"thing": "1"}')" .npmrc $'registry=http://127.0.0.1:1\nfetch-retries=0'
  fails 75 'npm could not reach its registry' "$scripts/npm-install.sh" "$build"
  python -uc 'import http.server as h
class Handler(h.BaseHTTPRequestHandler):
    def do_GET(self): self.send_error(503)
s = h.HTTPServer(("127.0.0.1", 0), Handler); print("port", s.server_port); s.serve_forever()' >server.log 2>errors.log 3>&- &
  server=$!
  until_true grep -q port server.log
  printf 'registry=http://127.0.0.1:%s\nfetch-retries=0\n' "$(cut -c6- server.log)" >"$src/.npmrc"
  fails 75 'npm could not reach its registry' "$scripts/npm-install.sh" "$build"
  printf 'registry=http://no-such-host.invalid\nfetch-retries=0\n' >"$src/.npmrc"
  fails 75 'npm could not reach its registry' "$scripts/npm-install.sh" "$build"
}

@test "what a failing script prints is shown, on whichever output, and its code is the repository's fault" {
  project package.json "$(package '"scripts": {"preinstall": "echo to stdout $((1 + 1)); echo to stderr $((1 + 1)) >&2; exit 75"}')"
  fails 1 "failed: the project's own install script failed: echo to stdout" "$scripts/npm-install.sh" "$build"
  [[ $output == *"to stdout 2"* && $output == *"to stderr 2"* ]]
}

@test "files that bear an old time are new to the next docker build" {
  DOCKERFILE=$(printf 'FROM %s\nCOPY . /app' "$BASE_IMAGE")
  for version in one two; do # of the same length
    project package.json "$(package '"scripts": {"prepare": "cp version.src version.txt && touch -d @1000000000 version.txt"}')" \
      package-lock.json "$(lock)" version.src "$version" Dockerfile "$DOCKERFILE"
    install
    "$scripts/version.sh" "$build"
    "$scripts/build.sh" "$build"
    id=$("$DOCKER" create "$(<"$build/image")" none)
    "$DOCKER" cp "$id:/app/version.txt" - | tar -xO >"$work/seen"
    "$DOCKER" rm "$id" >"$work/removed"
    "$DOCKER" rmi -f "$(<"$build/image")" >"$work/removed"
    [[ $(<"$work/seen") == "$version" ]]
  done
  [[ -z $(find "$src" -path "$src/.git" -prune -o ! -newer "$build/build.json" -print -quit) ]]
}

@test "install.command is run as it is, without package.json too" {
  settings='{"install": {"command": ["sh", "-c", "printf \"%s|\" \"$@\" >arguments", "sh", "a b", "", "$(touch ran)", "*", "it'"'"'s", "new\nline"]}}'
  project
  install
  [[ $(<"$src/arguments") == $'a b||$(touch ran)|*|it\'s|new\nline|' && ! -e $src/ran ]]
}

@test "an install.command that is not there is exit 1" {
  settings='{"install": {"command": ["no-such-program"]}}'
  project
  fails 1 'no-such-program failed' "$scripts/npm-install.sh" "$build"
}

@test "the environment is the short list, and nobody else's is in sight" {
  project package.json "$(package '"scripts": {"preinstall": "env -0 >seen; cat /proc/[0-9]*/environ /proc/[0-9]*/cmdline >all; readlink /proc/[0-9]*/fd/* >open; true"}')"
  export GITHUB_TOKEN=hidden-1 GITHUB_TOKEN_FILE=/hidden-2 OTHER=hidden-3 DOCKER_HOST=unix:///hidden-4 npm_config_x=hidden-5 NODE_OPTIONS=--no-warnings BASH_ENV=hidden-6 LANG=C.UTF-8 TZ=UTC HTTPS_PROXY='' no_proxy=x
  install
  names=$(tr '\0\n' '\n ' <"$src/seen" | sed 's/=.*//' | grep -vE '^(npm_.*|INIT_CWD|NODE|COLOR|EDITOR|PWD|OLDPWD|SHLVL|_|CI.*|NODE_EXTRA_CA_CERTS|GIT_SSL_CAINFO|SSL_CERT_.*|TMPDIR|LC_ALL|LOGNAME|USER|XDG_CACHE_HOME)$' | sort | xargs)
  [[ $names == "HOME LANG PATH TZ no_proxy" ]]
  run ! grep -aE 'hidden-[0-9]' "$src/seen" "$src/all"
  run ! grep -E '/lock$|npm.lock' "$src/open"
  for name in CI=true "CI_PIPELINE_NUMBER=${build##*/}" CI_REPO=o/n "CI_COMMIT_SHA=$(git -C app rev-parse HEAD)" CI_COMMIT_REF=refs/heads/main CI_COMMIT_BRANCH=main; do
    grep -zxF "$name" "$src/seen"
  done
  run ! grep -az CI_COMMIT_TAG "$src/seen"
}

@test "a process left behind by a script is ended, keeps nothing waiting and no lock" {
  marker=left-behind-$repository
  project package.json "$(package "\"scripts\": {\"preinstall\": \"(trap '' TERM HUP; exec -a $marker sleep 300) & setsid bash -c 'exec -a $marker sleep 300' & true\"}")" .npmrc script-shell=bash
  timeout 60 "$scripts/npm-install.sh" "$build" >out 2>&1 3>&-
  run ! pgrep -f "^$marker"
  flock -n "$build/lock" true
}

@test "where there are no namespaces, a process left behind keeps nothing waiting and no lock either" {
  mkdir bin
  printf '#!/bin/sh\nexit 1\n' >bin/unshare
  chmod +x bin/unshare
  project package.json "$(package '"scripts": {"preinstall": "sleep 300 & echo $! >pid"}')"
  PATH=$work/bin:$PATH timeout 60 "$scripts/npm-install.sh" "$build" >out 2>&1 3>&-
  flock -n "$build/lock" true # while that still runs
  kill "$(<"$src/pid")"
}

@test "while it runs the build is locked, to steps called by hand as well" {
  project package.json "$(package '"scripts": {"preinstall": "touch began; while ! test -e go; do sleep 0.05; done"}')"
  "$scripts/npm-install.sh" "$build" >out 2>&1 &
  until_true test -e "$src/began"
  fails 69 "is being worked on by process $!" "$scripts/clone.sh" "$build"
  touch "$src/go"
  wait "$!"
  flock -n "$build/lock" true
}

@test "TERM ends the command and what it started" {
  marker=ended-$repository
  project package.json "$(package "\"scripts\": {\"preinstall\": \"(trap '' TERM; exec -a $marker sleep 300)\"}")" .npmrc script-shell=bash
  timeout --signal=TERM 300 "$scripts/npm-install.sh" "$build" >out 2>&1 3>&- &
  until_true pgrep -f "^$marker"
  kill -TERM "$!"
  wait "$!" || true
  until_true not_running "$marker"
}
not_running() { run ! pgrep -f "^$1"; }

@test "symlinks out of the checkout are not followed" {
  project package.json "$(package)"
  mkdir "$work/outside"
  package '"scripts": {"preinstall": "touch ran"}' >"$work/outside/package.json"
  for name in package.json package-lock.json npm-shrinkwrap.json .npmrc node_modules; do
    mv "$src/$name" "$src/was" 2>"$work/out" || true
    for place in "$work/outside/$name" ../../../../../../outside/x /nowhere "$build/build.json"; do
      ln -sfn "$place" "$src/$name"
      fails 1 "$name leads out of the checkout, to /" "$scripts/npm-install.sh" "$build"
    done
    rm "$src/$name"
    mv "$src/was" "$src/$name" 2>"$work/out" || true
  done
  [[ $(ls "$work/outside") == package.json ]]
  ln -s README.md "$src/.npmrc" && echo 'a=b' >"$src/README.md" # inside is fine
  install
}

@test "a part of a workspace, or its root, that leads out of the checkout is not read" {
  project package.json "$(package '"workspaces": ["parts/a"]')" parts/a/package.json "$(package)" \
    package-lock.json "$(lock | jq '.packages["parts/a"] = {name: "a", version: "1.0.0"}')"
  mkfifo "$work/endless"
  ln -sf "$work/endless" "$src/parts/a/package.json"
  fails 1 'parts/a/package.json leads out of the checkout' timeout 20 "$scripts/npm-install.sh" "$build"
  rm "$src/parts/a/package.json"
  package >"$src/parts/a/package.json"
  ln -sf "$work/endless" "$src/package.json"
  printf parts/a >"$build/settings/context"
  fails 1 'package.json leads out of the checkout' timeout 20 "$scripts/npm-install.sh" "$build"
}

@test "node and npm are asked where no file of the checkout can name others" {
  mkdir bin
  printf '#!/bin/sh\n[ ! -e .tool-versions ] || touch "%s/planted"\nexec %s "$@"\n' "$work" "$(command -v node)" >bin/node
  chmod +x bin/node
  project package.json "$(package)" package-lock.json "$(lock)" .tool-versions 'nodejs path:evil'
  PATH=$work/bin:$PATH install
  [[ ! -e planted ]]
}

@test "a context that is a symlink out of the checkout is not followed, one inside is" {
  settings='{"context": "web"}'
  project package.json "$(package)" real/package.json "$(package '"scripts": {"preinstall": "touch ran"}')"
  mkdir "$work/outside"
  for place in "$work/outside" .. ../../ /; do
    ln -sfn "$place" "$src/web"
    fails 1 'web leads out of the checkout' "$scripts/npm-install.sh" "$build"
  done
  ln -sfn real "$src/web"
  install
  [[ -e $src/real/ran ]]
}

@test "a builds folder whose name looks like a pattern is no pattern" {
  mkdir '[b]*'
  cd '[b]*' || return
  work=$PWD
  project package.json "$(package '"scripts": {"preinstall": "true"}')"
  before=$(find "$src/.git" -printf '%P %u %n\n' | sort)
  install
  [[ $(find "$src/.git" -printf '%P %u %n\n' | sort) == "$before" ]]
}

@test "a lock file that lists nothing, not even the project, installs" {
  project package.json "$(package)" package-lock.json "$(lock | jq '.packages = {}')"
  install
}

@test "paths with spaces, quotes and dollars are paths, in a container too" {
  work="$work/it's a, \"\$HOME\" \`x\`: *"
  mkdir "$work"
  cd "$work"
  project package.json "$(package '"scripts": {"preinstall": "pwd >here"}')" package-lock.json "$(lock)"
  install
  [[ $(<"$src/here") == "$src" ]]
  change --arg image "$BASE_IMAGE" '.settings.install.image = $image'
  install
  [[ $(<"$src/here") == /src ]]
}

# in_image IMAGE: the settings that install there.
in_image() { settings=$(jq -nc --arg image "$1" '{install: {$image}}'); }

@test "install.image: it runs in a container, as a user without rights, and sees src/ and a cache alone" {
  image=$repository:latest
  printf '%s\n' "FROM $BASE_IMAGE" 'USER node' 'ENTRYPOINT ["false"]' | "${DOCKER:-docker}" build -qt "$image" - >"$work/out"
  in_image "$image"
  project package.json "$(package '"scripts": {"preinstall": "ls -A / >root; env >seen; id -u >user; npm config get cache >cache; ls -A $npm_config_cache >>cache; sed -nE \"s#^[^ ]+ (/src[^ ]*|/cache) [^ ]+ (r[wo]).*#\\1 \\2#p\" /proc/self/mounts >mounts; echo x >>.git/config; touch .git/x; true"}')" package-lock.json "$(lock)"
  : >"$build/.container" # and the container of a run that was killed
  "${DOCKER:-docker}" create --name "docker-build-server.o.n.${build##*/}" "$image" true >"$work/out"
  GITHUB_TOKEN=hidden OTHER=hidden install
  user=$(id -u)
  [[ $user -ne 0 ]] || user=64646
  [[ $output == *"(in $image)"* && $(<"$src/user") == "$user" && $(stat -c %u "$src/user") == "$user" ]]
  [[ $(sort "$src/mounts" | xargs) == "/cache rw /src rw /src/.git ro" && $(head -n 1 "$src/cache") == /cache/npm && ! $(git -C "$src" config --get-all x) && ! -e $src/.git/x ]]
  run ! grep -E "hidden|$work" "$src/seen"
  grep -xF "CI_COMMIT_SHA=$(git -C app rev-parse HEAD)" "$src/seen"
  grep -xF HOME=/tmp "$src/seen"
  [[ ! -e $build/.container && ! $("${DOCKER:-docker}" ps -aq --filter "name=docker-build-server.o.n.${build##*/}") ]]
  "${DOCKER:-docker}" rmi -f "$image" >"$work/out"
}

@test "install.image: what fails in it is the repository's fault, and its container gone" {
  in_image "$BASE_IMAGE"
  project package.json "$(package '"scripts": {"preinstall": "echo too bad; exit 3"}')"
  fails 1 'npm install --no-package-lock --no-audit --no-fund failed' "$scripts/npm-install.sh" "$build"
  [[ $output == *'too bad'* && ! $("${DOCKER:-docker}" ps -aq --filter "name=docker-build-server.o.n.${build##*/}") ]]
}

@test "install.image: a finished node_modules is kept there too, by the client that is set" {
  in_image "$BASE_IMAGE"
  project package.json "$(package)" package-lock.json "$(lock)"
  printf '#!/bin/sh\n[ "$1" != run ] || touch "%s/docker-ran"\nexec %s "$@"\n' "$work" "$(command -v "${DOCKER:-docker}")" >docker
  chmod +x docker
  DOCKER=$work/docker install
  [[ -e docker-ran ]]
}

@test "install.image: volumes that the image declares do not stay behind" {
  image=$(printf 'FROM %s\nVOLUME /data\n' "$BASE_IMAGE" | "$DOCKER" build -q -)
  before=$("$DOCKER" volume ls -q | sort)
  settings=$(jq -cn --arg image "$image" '{install: {$image, command: ["true"]}}')
  project
  install
  [[ $("$DOCKER" volume ls -q | sort) == "$before" ]]
}

@test "npm's cache is not cleared while an install uses it" {
  settings='{"install": {"command": ["sh", "-c", "touch going; until test -e go-on; do sleep 0.05; done"]}}'
  project
  "$scripts/npm-install.sh" "$build" >"$work/out" 2>&1 3>&- &
  until_true test -e "$src/going"
  run ! flock -n "${build%/*/*/*}/.cache/install/o/n.lock" true
  touch "$src/go-on"
  wait "$!"
  flock -n "${build%/*/*/*}/.cache/install/o/n.lock" true
}

@test "install.image: one that cannot be had is exit 75, an engine that is down too" {
  image=127.0.0.1:1/no/image:1
  in_image "$image"
  project package.json "$(package)"
  fails 75 "the engine cannot run $image" "$scripts/npm-install.sh" "$build"
  DOCKER_HOST=unix://$work/none.sock fails 75 'the Docker engine does not answer' "$scripts/npm-install.sh" "$build"
}

@test "another ~/.npmrc is another install" {
  export HOME=$work/home
  mkdir "$HOME"
  project package.json "$(package)" package-lock.json "$(lock)"
  install
  install
  [[ $output == *"nothing to install"* || ! -e $src/node_modules ]]
  echo 'fund=false' >"$HOME/.npmrc"
  install
  [[ $output != *"nothing to install"* ]]
}

@test "a finished node_modules serves the next build, unless the project has scripts of its own" {
  registry
  publish thing 1.0.0
  other='{version: "2.0.0", optional: true, os: ["darwin"], hasInstallScript: true}' # as many have, for macOS
  project package.json "$(package '"dependencies": {"thing": "1.0.0"}, "optionalDependencies": {"other": "2.0.0"}')" \
    package-lock.json "$(lock thing 1.0.0 | jq ".packages[\"\"].optionalDependencies.other = \"2.0.0\" | .packages[\"node_modules/other\"] = $other")" \
    .npmrc "registry=$registry"
  publish other 2.0.0 '{"os": ["darwin"]}'
  install
  kill "$server"
  server=''
  for _ in 1 2; do
    build=$(CONFIG=config.json "$scripts/stage.sh" o/n)
    steps clone
    install
    [[ $output == *"nothing to install"* && -f $build/src/node_modules/thing/package.json ]]
  done
  package '"dependencies": {"thing": "1.0.0"}, "scripts": {"postinstall": "touch ran"}' >"$build/src/package.json"
  for _ in 1 2; do
    rm -r "$build/src/node_modules"
    install
    [[ -e $build/src/ran && $output != *"nothing to install"* ]]
    rm "$build/src/ran"
  done
}

@test "another install.env is another install; HOME need not be set" {
  registry
  publish thing 1.0.0
  project package.json "$(package '"devDependencies": {"thing": "1.0.0"}')" .npmrc "registry=$registry" \
    package-lock.json "$(lock thing 1.0.0 | jq '.packages[""] |= (.devDependencies = .dependencies | del(.dependencies)) | .packages["node_modules/thing"].dev = true')"
  install
  [[ -e $src/node_modules/thing ]]
  mkdir -p "$build/settings/install/env"
  printf dev >"$build/settings/install/env/npm_config_omit"
  install
  [[ ! -e $src/node_modules/thing ]]
  rm "$build/settings/install/env/npm_config_omit"
  rm -r "${build%/*/*/*}/.cache/node_modules"
  (unset HOME && install)
  [[ -e $src/node_modules/thing ]]
}
