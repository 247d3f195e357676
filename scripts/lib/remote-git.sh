#!/usr/bin/env bash
# remote-git.sh ARGS...: git for the network, the only place where git meets a token
#
# Runs `git ARGS`. For $GITHUB_SERVER_URL (default https://github.com), and for no other host, git's
# credential mechanism is answered from GITHUB_TOKEN_FILE, else GITHUB_TOKEN: so the token stands in
# no argument, URL or configuration file, and is masked should git print it. Without a token git is
# left to the credentials and SSH keys it has. Never asks a person; a stalled transfer ends after a minute.
#
# Exit codes: git's own.
set -euo pipefail
shopt -s inherit_errexit

if [[ ${1-} == -h ]]; then
  sed -n '2,/^[^#]/s/^# \{0,1\}//p' -- "$0"
  exit 0
fi

unset GIT_DIR GIT_WORK_TREE GIT_INDEX_FILE # of whoever called us, say a git hook
export GIT_TERMINAL_PROMPT=0 GIT_HTTP_LOW_SPEED_LIMIT=100 GIT_HTTP_LOW_SPEED_TIME=60
export GIT_SSH_COMMAND=${GIT_SSH_COMMAND:-ssh -o BatchMode=yes}

if [[ ${GITHUB_TOKEN_FILE-} ]]; then
  unset GITHUB_TOKEN
  GITHUB_TOKEN_FILE=$(realpath -- "$GITHUB_TOKEN_FILE") # for git may change the folder
  token=$(<"$GITHUB_TOKEN_FILE")
else
  token=${GITHUB_TOKEN-}
fi
token=${token//[[:space:]]/}
[[ $token ]] || exec git "$@"

# The first, empty value makes git forget the helpers configured elsewhere. (Settings through the
# environment: git 2.31.) The token itself is looked up by the helper, when git asks.
n=${GIT_CONFIG_COUNT:-0} # the caller's come first
server=credential.${GITHUB_SERVER_URL:-https://github.com}.helper
# shellcheck disable=SC2016 # for git's shell to expand
answer='!answer() { test "$1" != get || printf "username=x-access-token\npassword=%s\n" "${GITHUB_TOKEN:-$(cat -- "$GITHUB_TOKEN_FILE")}"; }; answer'
export GIT_CONFIG_COUNT=$((n + 2)) \
  "GIT_CONFIG_KEY_$n=$server" "GIT_CONFIG_VALUE_$n=" "GIT_CONFIG_KEY_$((n + 1))=$server" "GIT_CONFIG_VALUE_$((n + 1))=$answer"

exec {masked}> >(while IFS= read -r line || [[ $line ]]; do printf '%s\n' "${line//"$token"/***}"; done >&2)
masker=$!
git "$@" 2>&"$masked" && code=0 || code=$?
exec {masked}>&-
wait "$masker" # the last line of git before the next one of ours
exit "$code"
