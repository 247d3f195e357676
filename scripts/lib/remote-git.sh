#!/usr/bin/env bash
# remote-git.sh ARGS... runs git for the network: the only place where git meets a token
#
# Runs `git ARGS`. For $GITHUB_SERVER_URL (default https://github.com), and for no other host,
# git's credential mechanism is answered from GITHUB_TOKEN_FILE, else GITHUB_TOKEN: so the token
# stands in no argument, URL or configuration file, and is masked should git print it. Without a
# token git is left to the credentials and SSH keys it has. Never asks a person; a stalled transfer
# ends after a minute.
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
if [[ ! $token ]]; then
  exec git "$@"
fi

# The first, empty value makes git forget the helpers configured elsewhere; the caller's settings
# come first. (Settings through the environment: git 2.31.) The token itself is looked up by the
# helper, when git asks.
count=${GIT_CONFIG_COUNT:-0}
helper=credential.${GITHUB_SERVER_URL:-https://github.com}.helper
# shellcheck disable=SC2016 # for git's shell to expand
answer='!answer() {
  if test "$1" = get; then
    printf "username=x-access-token\npassword=%s\n" \
      "${GITHUB_TOKEN:-$(cat -- "$GITHUB_TOKEN_FILE")}"
  fi
}; answer'
export GIT_CONFIG_COUNT=$((count + 2))
export "GIT_CONFIG_KEY_$count=$helper" "GIT_CONFIG_VALUE_$count="
export "GIT_CONFIG_KEY_$((count + 1))=$helper" "GIT_CONFIG_VALUE_$((count + 1))=$answer"

mask() {
  local line
  while IFS= read -r line || [[ $line ]]; do
    printf '%s\n' "${line//"$token"/***}"
  done >&2
}

code=0
{ git "$@"; } 2> >(mask) || code=$?
wait "$!" # the last line of git before the next one of ours
exit "$code"
