# shellcheck shell=bash
# carry.sh carries a build to the shared folder, where agent.sh finds it, and back. Both source it,
# after steps.sh. launch.sh sets $shared, and $sent, the build's folder there.

# carry FROM TO: what is small of what the steps leave; the same and no more is in TO then.
carry() {
  local file
  local -a there=()

  for file in "${small[@]}"; do
    if [[ -e $1/$file ]]; then
      there+=("$1/$file")
    fi
  done

  rm -rf -- "${small[@]/#/$2/}"
  if [[ ${#there[@]} -gt 0 ]]; then
    cp -R -- "${there[@]}" "$2"
  fi
}

# send: to $sent on the shared folder, under another name until all of it is there. FROM=STEP goes
# on from what the build has.
send() {
  local file half=$sent.half

  if [[ ! -d $shared ]]; then
    fail 75 "$shared is not there (is it mounted?)"
  fi

  if [[ -L $build/lock ]]; then # what was sent is lost with the shared folder, or has come back
    rm -f -- "$build/lock"
  fi

  exec {lock}<>"$build/lock"
  flock -w 2 "$lock" || fail 69 "$build is being worked on (wait, or: make cancel BUILD=$build)"
  fill_in_settings
  rm -rf -- "$half" "$sent"
  mkdir -p -- "$half" || fail 75 "cannot write $shared (is it mounted?)"
  cp -R -- "$build"/{build.json,settings} "$build"/rerun* "$half"
  carry "$build" "$half"
  cat -- "${build%/*}/withdrawn" >"$half/.withdrawn" 2>/dev/null || true
  if [[ -f $build/settings/paths ]]; then
    BUILT=1 "$scripts/lib/skips-ci.sh" "$build" >"$half/.built" || rm -f -- "$half/.built"
  fi

  for file in console.log steps lock; do
    : >"$half/$file"
    if [[ ${FROM-} && -f $build/$file && $file != lock ]]; then
      cp -- "$build/$file" "$half/$file"
    fi
  done

  mv -T -- "$half" "$sent"
  for file in console.log steps lock; do # the lock last: with it the build is sent
    ln -sfT -- "$sent/$file" "$build/.link"
    mv -fT -- "$build/.link" "$build/$file"
  done

  exec {lock}>&-
}

# say WORDS: while nobody else prints.
say() { echo "launch.sh: $*" >>"$sent/console.log"; }

# show: prints what console.log has more than at the last time.
show() { cat <&"$log"; }

# is_held: does an agent work on the build?
is_held() { ! flock -n "$sent/lock" true; }

has_ended() { [[ -e $sent/result.json || -e $sent/.result.json ]]; }

# finish STATUS CODE MESSAGE: where no agent has left a result. As pipeline.sh does, trouble is put
# aside for a poller, which knows whether it was its host's.
finish() {
  local result

  result=$(jq -n --arg status "$1" --argjson code "$2" --arg message "launch.sh: $3" '{format: 1,
    $status, failed_step: null, exit_code: $code, $message, failing: [], started_at: null,
    finished_at: (now | todate), steps: [], tests: null, version: null, image: null, pushed: []}')
  say "$3"
  rm -f -- "$sent/.node" # it was no end of a machine's own
  if [[ ${ASIDE-} && $2 -eq 75 ]]; then
    printf '%s\n' "$result" >"$sent/.result.json"
  else
    printf '%s\n' "$result" >"$sent/result.json"
  fi

  take_back
}

# take_back: what the build has left comes back, its result last.
take_back() {
  local file result

  trap '' INT TERM
  show
  carry "$sent" "$build"
  for file in console.log steps; do
    cp -- "$sent/$file" "$build/.$file.tmp"
    mv -fT -- "$build/.$file.tmp" "$build/$file"
  done

  result=$(cat -- "$sent"/{.result.json,result.json} 2>/dev/null) || true
  if [[ -f $sent/.node ]]; then
    cp -- "$sent/.node" "$build/.node"
    rm -f -- "${build%/*/*/*}/.nodes/$(<"$sent/.node")"
    if [[ $result == *'"status": "success"'* ]]; then
      cp -- "$build/.node" "${build%/*}/.node"
    fi
  fi

  rm -f -- "$build"/{rerun,cancelled}
  if [[ -e $sent/result.json ]]; then
    leave result.json "$result"$'\n'
  else
    leave .result.json "$result"$'\n'
  fi

  : >"$build/.lock.tmp"
  mv -fT -- "$build/.lock.tmp" "$build/lock"
  rm -rf -- "$sent" 2>/dev/null || true # a network file system may keep what is open

  : >"$build/.launch" # whoever is next finds no process of that number

  # Whoever waits for the build is not to wait for this.
  job_end >/dev/null 2>&1 &
  [[ $result =~ \"exit_code\":\ *([0-9]+) ]]
  exit "${BASH_REMATCH[1]:-1}"
}
