#!/usr/bin/env bats
# The cage of npm-install.sh: what strangers' install scripts reach, and what they do not. The tests
# run as root and as a user without rights, who is made for them.

load ../support/helper

setup() {
  common_setup
  cd "$work" || return
  place=/var/lib/cage-$$-$BATS_TEST_NUMBER # not below a folder that is hidden anyway
  mkdir "$place"
  chmod 711 "$place"
}

teardown() {
  end_jobs
  rm -rf "$place" "/etc/cage-$$"
  if id "cage-$$" >"$BATS_TEST_TMPDIR/id" 2>&1; then
    until_true userdel "cage-$$"
  fi
}

# world USER: the builds folder, the secrets, a home and a socket, as a server of that user has them.
world() {
  user=$1
  if [[ $user != root ]]; then
    useradd --no-create-home --home-dir "$place/home" "$user"
  fi
  mkdir -p "$place"/{home/.ssh,secrets/o/n,docker,builds/o/n/other/src,builds/.cache/install/o/other}
  echo secret-1 >"$place/token"
  echo secret-2 >"$place/secrets/o/n/NPM"
  echo secret-3 >"$place/docker/config.json"
  echo secret-4 >"$place/home/.ssh/id"
  echo secret-5 >"$place/builds/o/n/other/src/code"
  echo secret-6 >"$place/builds/.cache/install/o/other/entry"
  echo secret-7 >"/etc/cage-$$"
  echo '//r.example/:_authToken=secret-8' >"$place/home/.npmrc"
  printf '%s\n' 'key="secret-10"' 'proxy=http://me:secret-11@p.example' >>"$place/home/.npmrc"
  echo 'fund=false' >>"$place/home/.npmrc"
  chmod 600 "/etc/cage-$$"
  python3 -c 'import socket, sys; socket.socket(socket.AF_UNIX).bind(sys.argv[1])' "$place/docker.sock"
}

# project NAME FILE CONTENT...: staged and cloned by that user; $src is its checkout.
project() {
  repository "$@"
  mv "$work/$1" "$place/$1"
  jq -n --arg url "file://$place/$1" --argjson more "${settings:-{\}}" '
    {registry: "127.0.0.1:1", repositories: {"o/n": ({$url} + $more)}}' >"$place/config.json"
  build=$(CONFIG=$place/config.json "$scripts/stage.sh" o/n)
  steps clone
  src=$build/src
  if [[ $user != root ]]; then
    chown -R "$user:$user" "$place"
  fi
}

# as_user COMMAND...: by the server's user, with what its environment has.
as_user() {
  local -a switch=()
  if [[ $user != root ]]; then
    switch=(setpriv --reuid "$user" --regid "$user" --clear-groups)
  fi
  env HOME="$place/home" GITHUB_TOKEN=secret-9 \
    GITHUB_TOKEN_FILE="$place/token" SECRETS="$place/secrets" DOCKER_CONFIG="$place/docker" \
    DOCKER_HOST="unix://$place/docker.sock" SSH_AUTH_SOCK="$place/docker.sock" \
    "${switch[@]}" "$@"
}

# attack: a script that reads, writes and signals what it can, and says so.
attack() {
  cat <<'END'
const fs = require('fs'), net = require('net'), { execSync } = require('child_process')
const place = process.env.PLACE
const tell = words => fs.appendFileSync('told', words + '\n')
const attempt = (what, act) => { try { act(); tell('DONE ' + what) } catch (e) { tell('no ' + what + ' ' + e.code) } }
tell('environment ' + JSON.stringify(process.env))
const see = folder => {
  let names = []
  try { names = fs.readdirSync(folder) } catch { return }
  for (const name of names) {
    const path = folder + '/' + name
    let stat
    try { stat = fs.lstatSync(path) } catch { continue }
    if (stat.isDirectory()) see(path)
    else if (stat.isFile()) try { tell('read ' + fs.readFileSync(path, 'latin1').slice(0, 300)) } catch {}
  }
}
see(place)
for (const file of fs.readdirSync('/etc')) if (file.startsWith('cage-')) attempt('read it', () => tell(fs.readFileSync('/etc/' + file, 'latin1')))
for (const pid of fs.readdirSync('/proc').filter(n => /^[0-9]+$/.test(n)))
  for (const file of ['environ', 'cmdline'])
    try { tell('process ' + fs.readFileSync(`/proc/${pid}/${file}`, 'latin1')) } catch {}
for (const folder of ['..', '../..', place, place + '/builds', place + '/home/.ssh', place + '/secrets', '/etc', '/usr/bin', '/var/lib'])
  attempt('write ' + folder, () => fs.writeFileSync(folder + '/planted', 'x'))
for (const name of ['version', 'tags', 'tested', 'lock', 'build.json', 'settings/context'])
  attempt('write ' + name, () => fs.writeFileSync('../' + name, '9.9.9'))
attempt('write .git', () => fs.writeFileSync(process.env.SRC + '/.git/hooks/post-checkout', 'x'))
for (const folder of [place + '/builds', place + '/secrets', process.env.HOME, '/tmp', '/run'])
  attempt('umount ' + folder, () => execSync(`umount ${folder} || unshare -Urm umount ${folder}`, { stdio: 'pipe' }))
attempt('kill', () => process.kill(+process.env.VICTIM, 'SIGKILL'))
attempt('chown', () => fs.chownSync('told', 0, 0))
for (const path of [place + '/docker.sock', '/run/docker.sock', '/var/run/docker.sock'])
  net.connect(path).on('connect', () => tell('DONE socket')).on('error', e => tell('no socket ' + e.code))
END
}

# holds USER: nothing was read, written or signalled; and the checkout can be used.
holds() {
  world "$1"
  sleep 1000 3>&- &
  victim=$!
  settings=$(jq -nc --arg place "$place" --arg victim "$victim" '{install: {cage: "required",
    env: {PLACE: $place, VICTIM: $victim, KNOWN: "a value"}}}')
  project app attack.js "$(attack)" package.json \
    '{"name": "app", "version": "1.2.3", "scripts": {"preinstall": "SRC=$PWD node attack.js; touch ran"}}'
  before=$(find "$place" -path "$build" -prune -o -path "$place/builds/.cache" -prune -o -type f -exec sha256sum {} + | sort)
  run as_user "$scripts/npm-install.sh" "$build"
  echo "$output"
  [[ $status -eq 0 && -e $src/ran ]]

  cat "$src/told" >"$work/told"
  if grep -aE 'secret-[0-9]|^DONE' "$work/told"; then
    return 1
  fi
  grep -a '^no ' "$work/told"
  [[ $(grep -ac '^no ' "$work/told") -gt 20 ]]
  grep -a '"KNOWN":"a value"' "$work/told"
  kill -0 "$victim"
  [[ $before == "$(find "$place" -path "$build" -prune -o -path "$place/builds/.cache" -prune -o -type f -exec sha256sum {} + | sort)" ]]
  steps version
  [[ $(<"$build/version") == 1.2.3 && ! -e $src/.git/hooks/post-checkout ]]
}

@test "nothing is read, written or signalled by an install script, where the server is root" {
  holds root
}

@test "nor where it is a user without rights" {
  holds "cage-$$"
}

@test "a checkout that a script has taken all rights from is said, and the build can start over" {
  world "cage-$$"
  project app package.json '{"name": "app", "scripts": {"preinstall": "mkdir -p x/y; touch x/y/z; chmod 0 x/y x"}}' \
    Dockerfile 'FROM scratch'
  for _ in 1 2; do
    run -1 as_user "$scripts/pipeline.sh" "$build"
    [[ $(jq -r .message "$build/result.json") == *"the install has left cannot be read"* ]]
  done
}

@test "the credentials of ~/.npmrc stay outside, and the rest is there" {
  world root
  project app package.json '{"name": "app", "scripts": {"preinstall": "cat ~/.npmrc >seen"}}'
  as_user "$scripts/npm-install.sh" "$build" >"$work/out"
  [[ $(<"$src/seen") == fund=false ]]
}

@test "node of a version manager in a home works, and what resolv.conf leads to is there" {
  world root
  node=$place/home/.nvm/versions/node/v1
  mkdir -p "$node/bin" "$node/lib/node_modules"
  cp "$(realpath "$(command -v node)")" "$node/bin/node"
  cp -a "$(dirname "$(dirname "$(realpath "$(command -v npm)")")")" "$node/lib/node_modules/npm"
  ln -s ../lib/node_modules/npm/bin/npm-cli.js "$node/bin/npm"
  mkdir -p "$place/home/.pyenv"/{shims,versions}
  printf '#!/bin/sh\ncat "${0%%/*}/../versions/it"\n' >"$place/home/.pyenv/shims/managed"
  chmod +x "$place/home/.pyenv/shims/managed"
  echo managed >"$place/home/.pyenv/versions/it"
  project app package.json '{"name": "app", "scripts": {"preinstall": "command -v node >seen; managed >>seen; cat /etc/resolv.conf >resolv"}}'
  PATH=$node/bin:$place/home/.pyenv/shims:$PATH as_user "$scripts/npm-install.sh" "$build" >"$work/out"
  [[ $(<"$src/seen") == "$node/bin/node"$'\nmanaged' && $(<"$src/resolv") == "$(</etc/resolv.conf)" ]]
}

@test "a home in PATH stays hidden, and node is found where a link leads into one" {
  world root
  node=$place/home/opt/node/bin
  mkdir -p "$node" "$place/home/opt/node/lib/node_modules" "$place/bin"
  cp "$(realpath "$(command -v node)")" "$node/node"
  ln -s "$node/node" "$place/bin/node"
  project app package.json '{"name": "app", "scripts": {"preinstall": "command -v node >seen; ls ~/.ssh >>seen || true"}}'
  PATH=$place/bin:$PATH:$place/home as_user "$scripts/npm-install.sh" "$build" >"$work/out"
  [[ $(<"$src/seen") == "$place/bin/node" ]]
}

@test "without bubblewrap it is said, or refused where install.cage requires it" {
  world root
  mkdir bin
  for tool in $(compgen -c | grep -vx bwrap | sort -u); do
    file=$(type -P "$tool") && ln -sf "$file" "bin/$tool" 2>"$work/out" || true
  done
  project app package.json '{"name": "app", "scripts": {"preinstall": "touch ran"}}' bwrap \
    "#!/bin/sh
touch $work/planted"
  chmod +x "$src/bwrap" # a program of the checkout is none of ours, whatever PATH says
  PATH=$work/bin: run as_user "$scripts/npm-install.sh" "$build"
  echo "$output"
  [[ $status -eq 0 && -e $src/ran && $output == *"without a cage, so install scripts can read what this server can: bubblewrap is not here (install it"* ]]
  [[ ! -e $work/planted ]]
  printf required >"$build/settings/install/cage"
  PATH=$work/bin fails 75 'bubblewrap is not here (install it: apt-get install bubblewrap); "install.cage" requires it' as_user "$scripts/npm-install.sh" "$build"
  printf none >"$build/settings/install/cage"
  PATH=$work/bin run as_user "$scripts/npm-install.sh" "$build"
  [[ $status -eq 0 && $output != *"without a cage"* ]]
}

@test "a bubblewrap that the kernel refuses tells why" {
  world root
  mkdir bin
  printf '#!/bin/sh\necho "bwrap: No permissions to create new namespace" >&2\nexit 1\n' >bin/bwrap
  chmod +x bin/bwrap
  PATH=$work/bin:$PATH run "$scripts/lib/cage.sh" check
  [[ $status -eq 97 && $output == "bubblewrap does not work here: bwrap: No permissions to create new namespace (allow them: sysctl "* ]]
}

# limited JSON SCRIPT: installs by that script, under these limits.
limited() {
  world root
  settings="{\"install\": $1}"
  project app package.json "$(jq -n --arg script "$2" '{name: "app", scripts: {preinstall: $script}}')"
  run as_user "$scripts/npm-install.sh" "$build"
  echo "$output"
}

@test "memory and processes have limits" {
  limited '{"memory": "200m"}' 'node -e "const a = []; for (;;) a.push(Buffer.alloc(1e7, 1))"'
  if [[ $output == *"no limits on memory and processes"* ]]; then
    return # told, where there can be none
  fi
  [[ $status -eq 1 && ${lines[-1]} == *'it was ended at the memory limit of 200m (see "install.memory")' ]]
  printf 4g >"$build/settings/install/memory"
  printf 60 >"$build/settings/install/pids"
  echo '{"name": "app", "scripts": {"preinstall": "for i in $(seq 300); do sleep 30 & done; exit 3"}}' >"$src/package.json"
  run timeout 100 "$scripts/npm-install.sh" "$build"
  [[ $status -eq 1 && $(pgrep -fc '^sleep 30$') -eq 0 ]]
}

@test "a cache that one repository has changed is none of another's" {
  world root
  project app package.json '{"name": "app", "scripts": {"preinstall": "echo $npm_config_cache >seen; echo poison >$npm_config_cache/poison"}}'
  as_user "$scripts/npm-install.sh" "$build" >"$work/out"
  [[ $(<"$(<"$src/seen")/poison") == poison ]]
  jq '.repositories["o/m"] = .repositories["o/n"]' "$place/config.json" >"$work/changed"
  cp "$work/changed" "$place/config.json"
  build=$(CONFIG=$place/config.json "$scripts/stage.sh" o/m)
  steps clone
  as_user "$scripts/npm-install.sh" "$build" >"$work/out"
  run ! test -e "$(<"$build/src/seen")/../../n/npm/poison/none"
  [[ $(<"$build/src/seen") != "$(<"$src/seen")" ]]
}

# alone: cage.sh by itself on an empty $src, as npm-install.sh calls it; its command is in $@.
alone() {
  src=$place/builds/o/n/other/src
  mkdir -p "$src" "$place/cache"
  chown 64646 "$src" "$place/cache"
  cd "$src" || return
  exec "$scripts/lib/cage.sh" run "$src" "$place/cache" 4g 1024 "" "$@"
}

# living NUMBER: prints how many processes sleep for that many seconds.
living() { pgrep -fc "^sleep $1\$" || true; }

@test "when the cage has ended nothing in it lives, however busy, and its cgroups are gone" {
  run -0 alone sh -c "for i in \$(seq 40); do sh -c 'while :; do :; done' busy-$$ & done; exit 0"
  [[ $(pgrep -fc "^sh -c while.*busy-$$\$") -eq 0 ]]
  run find /sys/fs/cgroup -name 'docker-build-server.*' -newer "$place/cache"
  for group in "${lines[@]}"; do
    [[ -e /proc/${group##*.} ]] # another's
  done
}

@test "killed, it takes along what it runs, and the next one removes its cgroups" {
  seconds=100$$
  alone sh -c "setsid sleep $seconds & sleep $seconds" 3>&- &
  cage=$!
  until_true eval '[[ $(living "$seconds") -ge 2 ]]'
  kill -KILL "$cage"
  until_true eval '[[ $(living "$seconds") -eq 0 ]]'
  run -0 alone true
  [[ ! $(find /sys/fs/cgroup -name "docker-build-server.$cage") ]]
}

@test "of what the server has open the cage has nothing" {
  echo secret-1 >"$place/token"
  exec 7<"$place/token" 8<"$place"
  run -0 alone sh -c 'ls /proc/self/fd'
  exec 7<&- 8<&-
  [[ ${lines[*]: -4} == "0 1 2 3" ]]
}

@test "a cage that could not be set up is tried again, and is never the repository's fault" {
  world root
  mkdir bin
  project app package.json '{"name": "app", "scripts": {"preinstall": "echo ran >>ran"}}'
  cat >bin/bwrap <<END
#!/bin/bash
[[ \$* == *"-- setpriv"*bash* && \$(wc -l <"$work/tries") -lt \$(<"$work/bad") ]] || exec "$(command -v bwrap)" "\$@"
echo try >>"$work/tries"
echo "bwrap: Can't bind mount /oldroot/ on /newroot/: Unable to apply mount flags" >&2
exit 1
END
  chmod +x bin/bwrap
  : >tries
  echo 2 >bad
  PATH=$work/bin:$PATH run as_user "$scripts/npm-install.sh" "$build"
  echo "$output"
  [[ $status -eq 0 && $(<"$src/ran") == ran && $(wc -l <tries) -eq 2 ]]
  echo 99 >bad
  PATH=$work/bin:$PATH fails 75 "the cage cannot be had: bwrap: Can't bind mount" as_user "$scripts/npm-install.sh" "$build"
}
