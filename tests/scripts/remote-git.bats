# remote-git.sh: the token gets to one server by one way, and is seen nowhere else.

token='s3cret*[x]?&\t$(touch${IFS}ran)~'

setup() {
  load ../support/helper
  common_setup
  cd "$work" || return
  unset GITHUB_SERVER_URL
  # Whatever helpers and programs that ask this machine has, and nothing of what the tests leave in its home.
  export GIT_CONFIG_GLOBAL=$work/global GIT_CONFIG_SYSTEM=/dev/null GIT_ASKPASS='' SSH_ASKPASS=''
  printf %s "$token" >token
  git=$scripts/lib/remote-git.sh
}

teardown() { [[ ! ${servers-} ]] || kill "${servers[@]}"; }

# serve NAME COMMAND...: a server that prints its URL first, which becomes $url.
serve() {
  "${@:2}" >"$work/$1.log" 3>&- &
  servers+=("$!")
  until_true test -s "$work/$1.log"
  url=$(head -n 1 "$work/$1.log")
}

# hub: a GitHub at $url, with the private repository o/n at $url/o/n.git that only the token opens.
hub() {
  serve hub env -C "$root" python -m tests.support.github --root "$work/hub"
  control configure "$(jq -cn --arg token "$token" '{$token}')"
  control create '{"name": "o/n", "private": true}'
  repository app file one
  git -C app push -q "$work"/hub/*.git main
}

# control CALL KWARGS
control() { jq -cn --arg call "$1" --argjson kwargs "$2" '{$call, $kwargs}' | curl -sf --data-binary @- "$url/_control"; }

# stranger [PLACE]: a server that asks for a password, prints whatever it is told, and then is silent; or one that redirects to PLACE.
stranger() {
  serve stranger python -uc '
import http.server, sys, time
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        print(self.path, self.headers.get("Authorization"))
        if sys.argv[1:]:
            self.send_response(302)
            self.send_header("Location", sys.argv[1] + self.path)
        elif self.headers.get("Authorization"):
            time.sleep(60)
        else:
            self.send_response(401)
            self.send_header("WWW-Authenticate", "Basic realm=stranger")
        self.send_header("Content-Length", "0")
        self.end_headers()
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print(f"http://127.0.0.1:{server.server_port}")
server.serve_forever()' "$@" 2>/dev/null
}

# unseen FILE...: the token is in none of them.
unseen() { run ! grep -rF -e "$token" -e "$(printf %s "x-access-token:$token" | base64 -w0)" -- "$@"; }

@test "a transfer that stalls is ended after a minute" {
  mkdir -p "$work/bin"
  printf '#!/bin/sh\necho "$GIT_HTTP_LOW_SPEED_LIMIT $GIT_HTTP_LOW_SPEED_TIME"\n' >"$work/bin/git" && chmod +x "$work/bin/git"
  PATH=$work/bin:$PATH run -0 "$scripts/lib/remote-git.sh" version
  [[ $output == "100 60" ]]
}

@test "-h prints the manual" {
  run --separate-stderr "$git" -h
  [[ $status -eq 0 && $output == "remote-git.sh ARGS"*"Exit codes: git's own." && ! $stderr ]]
}

@test "it is git: arguments, both outputs and the exit code, with a token or without" {
  for GITHUB_TOKEN in '' "$token"; do
    export GITHUB_TOKEN
    run --separate-stderr "$git" -c 'alias.x=!printf "%s|" "$@"; printf "one\ntwo" >&2; exit 77 #' x 'a b' '' '*' $'new\nline'
    [[ $status -eq 77 && $output == $'a b||*|new\nline|' && $stderr == $'one\ntwo' ]]
    run "$git"
    [[ $status -eq 1 ]]
    [[ $(echo in | "$git" hash-object --stdin) == "$(echo in | git hash-object --stdin)" ]]
  done
}

@test "the token opens its server, from GITHUB_TOKEN, GITHUB_TOKEN_FILE, and a file named relatively" {
  hub
  export GITHUB_SERVER_URL=$url
  GITHUB_TOKEN=$token "$git" ls-remote "$url/o/n.git" refs/heads/main | grep refs/heads/main
  GITHUB_TOKEN_FILE=$work/token "$git" ls-remote "$url/o/n.git" refs/heads/main | grep refs/heads/main
  GITHUB_TOKEN=wrong GITHUB_TOKEN_FILE=token "$git" -C / ls-remote "$url/o/n.git" refs/heads/main | grep refs/heads/main
  printf '%s\r\n' "$token" >token # as an editor leaves it
  GITHUB_TOKEN_FILE=token GITHUB_SERVER_URL=$url/ "$git" -C / ls-remote "$url/o/n.git" refs/heads/main | grep refs/heads/main
  GITHUB_TOKEN=$token$'\n' "$git" ls-remote "$url/o/n.git" refs/heads/main | grep refs/heads/main
}

@test "without the right token it fails at once, and asks nobody" {
  hub
  export GITHUB_SERVER_URL=$url
  : >empty
  for given in GITHUB_TOKEN= GITHUB_TOKEN=wrong GITHUB_TOKEN_FILE="$work/empty" GITHUB_TOKEN_FILE="$work/missing" GITHUB_TOKEN_FILE="$work"; do
    run timeout 10 script -qec "env '$given' '$git' ls-remote '$url/o/n.git'" typescript </dev/null # with a terminal it could ask on
    echo "$status $output"
    [[ $status -ne 0 && $status -ne 124 && $output =~ 'terminal prompts disabled'|'Authentication failed'|'No such file' ]]
  done
}

@test "another server that asks for a password is told none" {
  stranger
  for place in "$url" "${url/127.0.0.1/localhost}"; do
    for server in https://github.com http://127.0.0.1:1 "${url%:*}" "${url/http/https}"; do
      GITHUB_SERVER_URL=$server GITHUB_TOKEN=$token run timeout 10 "$git" ls-remote "$place/o/n.git"
      [[ $status -eq 128 && $output == *"terminal prompts disabled"* ]]
    done
  done
  GITHUB_TOKEN_FILE=$work/token run timeout 10 "$git" ls-remote "$url/o/n.git"
  [[ $status -eq 128 && $(grep -c ' None$' stranger.log) -ge 9 ]]
  run ! grep -v -e ' None$' -e ^http stranger.log
}

@test "a server that redirects elsewhere does not pass the token on" {
  stranger
  here=$url
  : >stranger.log.seen
  mv stranger.log elsewhere.log
  stranger "$here"
  GITHUB_SERVER_URL=$url GITHUB_TOKEN=$token run timeout 10 "$git" ls-remote "$url/o/n.git"
  [[ $status -eq 128 ]]
  grep -F /o/n.git elsewhere.log
  unseen elsewhere.log
  run ! grep Basic elsewhere.log
}

@test "a submodule elsewhere is not told the token, and leaves a private one open" {
  hub
  server=$url
  stranger
  git -C app config -f .gitmodules submodule.x.path x
  git -C app config -f .gitmodules submodule.x.url "$url/o/x.git"
  git -C app add .gitmodules
  git -C app update-index --add --cacheinfo "160000,$(git -C app rev-parse HEAD),x"
  git -C app "${git_identity[@]}" commit -q -m x
  git -C app push -q "$work"/hub/*.git main
  SETTINGS=$(jq -cn --arg builds "$work/builds" --arg url "$server/o/n.git" '{$builds, settings: {$url}}')
  export SETTINGS GITHUB_SERVER_URL=$server GITHUB_TOKEN=$token
  stage
  fails 75 'cannot fetch a submodule' timeout 20 "$scripts/clone.sh" "$build"
  grep -F '/o/x.git/info/refs?service=git-upload-pack None' stranger.log
  run ! grep Basic stranger.log
}

@test "the token stands in no argument, and from a file in no environment, while git talks" {
  stranger
  export GITHUB_SERVER_URL=$url
  for given in GITHUB_TOKEN="$token" GITHUB_TOKEN_FILE="$work/token"; do
    : >stranger.log
    (export "${given?}" && exec "$git" ls-remote "$url/o/n.git") 3>&- &
    until_true grep -F "Basic $(printf %s "x-access-token:$token" | base64 -w0)" stranger.log
    pgrep -f "ls-remote $url" | grep -x "$!"
    run ! everywhere cmdline
    [[ $given == GITHUB_TOKEN=* ]] || run ! everywhere environ
    for pid in $(pgrep -f "ls-remote $url|git-remote-http.* $url"); do kill "$pid" || true; done
    wait "$!" || true
  done
}

everywhere() { cat /proc/[0-9]*/"$1" 2>/dev/null | tr '\0' '\n' | grep -aF -f token; }

@test "GITHUB_TOKEN_FILE comes before GITHUB_TOKEN, which git then does not get" {
  export GITHUB_TOKEN=other GITHUB_TOKEN_FILE=$work/token
  run "$git" -c 'alias.x=!env' x
  [[ $output == *GITHUB_TOKEN_FILE=* && $output != *GITHUB_TOKEN=* && $output != *"$token"* ]]
}

@test "the token is masked in what git says, in the last line without an end too" {
  for given in GITHUB_TOKEN="$token" GITHUB_TOKEN_FILE="$work/token"; do
    run --separate-stderr env "$given" "$git" -c 'alias.x=!T=$(cat token); printf "a %s b %s\n\n  c %s" "$T" "$T" "$T" >&2 #' x
    [[ $stderr == $'a *** b ***\n\n  c ***' && $status -eq 0 ]]
  done
  export GITHUB_TOKEN=$token
  run "$git" ls-remote "http://x:$(jq -rn --arg t "$token" '$t')@127.0.0.1:1/"
  [[ $status -ne 0 && $output != *"$token"* ]]
}

@test "helpers that are configured for the server are not asked and told nothing, where there is a token" {
  hub
  export GITHUB_SERVER_URL=$url
  git config --global credential.helper '!cat >>asked; echo username=u; echo password=p; #'
  git config --global "credential.$url.helper" '!cat >>asked; #'
  GITHUB_TOKEN=$token "$git" ls-remote "$url/o/n.git" | grep refs/heads/main
  [[ ! -e asked ]]
  run "$git" ls-remote "$url/o/n.git" # without one, git is left to what it has
  grep -F host=127.0.0.1 asked
}

@test "configuration in the caller's environment still counts" {
  export GIT_CONFIG_COUNT=2 GIT_CONFIG_KEY_0=x.y GIT_CONFIG_VALUE_0=z GIT_CONFIG_KEY_1=x.w GIT_CONFIG_VALUE_1=v
  for GITHUB_TOKEN in '' "$token"; do
    export GITHUB_TOKEN
    [[ $("$git" config x.y) == z && $("$git" config x.w) == v ]]
  done
  [[ $("$git" config --get-all credential.https://github.com.helper) == *x-access-token* ]]
}

@test "git's variables of a hook it runs in do not lead it elsewhere" {
  repository app
  run env GIT_DIR="$work/app/.git" GIT_WORK_TREE="$work/app" "$git" -C / rev-parse --git-dir
  [[ $status -eq 128 ]]
}

@test "a private repository is staged and cloned, and keeps no token anywhere" {
  hub
  export GITHUB_SERVER_URL=$url GITHUB_TOKEN=$token
  jq -n '{registry: "127.0.0.1:1", repositories: {"o/n": {}}}' >config.json
  build=$(CONFIG=config.json "$scripts/stage.sh" o/n 2>staged)
  "$scripts/clone.sh" "$build" >cloned 2>&1
  [[ $(git -C "$build/src" rev-parse HEAD) == $(git -C app rev-parse main) && $(git -C "$build/src" remote get-url origin) == "$url/o/n.git" ]]
  unseen builds staged cloned global
  [[ ! $(git -C "$build/src" config --get-regexp '^credential') ]]
}

@test "a token does not make a public repository depend on it" {
  repository app
  export GITHUB_TOKEN=$token
  [[ $("$git" ls-remote "file://$work/app" | wc -l) -eq 2 ]]
}
