#!/usr/bin/env bash
# cage.sh runs an install command where strangers' code finds nothing that is not its own
#
# cage.sh run SRC CACHE MEMORY PIDS NAMES COMMAND...    in the cage, by bubblewrap
# cage.sh bare SRC CACHE MEMORY PIDS NAMES COMMAND...   without it: tidy, but no boundary
# cage.sh check                                         says why there can be no cage here
#
# In the cage / is read-only; home folders, /run, /tmp, and the builds folder (four above SRC) are
# empty, but for what PATH, the resolver and the CA variables name, read-only. Files with secrets
# and the engine's socket are hidden wherever they are. SRC, without its .git, and CACHE can be
# written. Processes, IPC and host name are its own; it has no capabilities, and as root a user ID
# that owns nothing else. ~/.npmrc is there without credentials.
#
# Either way the command meets a short list of variables and those in NAMES (with spaces between),
# and ends with this script. MEMORY (as 4g) and PIDS are its limits where systemd or the kernel's
# cgroups let us set some; else a line says that there are none.
#
# Exit codes: the command's; 97 no cage can be had here; 98 it was ended at its limit of memory
set -euo pipefail
shopt -s inherit_errexit
export HOME=${HOME:-~} # as the list of users has it, where a service has none
limits=() groups=()
user=65534
as_root=''
if [[ $EUID -eq 0 ]]; then
  as_root=yes
fi

# is_below PATH FOLDER...: does it lie in one of them, or is it one?
is_below() {
  local folder
  for folder in "${@:2}"; do
    if [[ $1/ == "$folder/"* ]]; then
      return 0
    fi
  done

  return 1
}

# plan_mounts: sets $mounts and $seals, bubblewrap's options, the last ones to make read-only what
# was hidden; and $inner_path, PATH in the cage.
plan_mounts() {
  local folder file
  local -a folders files

  hidden=() seals=()
  mounts=(--ro-bind / / --proc /proc --dev /dev --perms 1777 --tmpfs /dev/shm)
  # Sorted, those above others come first.
  while read -r folder; do
    parents "$folder"
    hidden+=("$folder")
    if [[ $folder == "${HOME-}" || $folder == */tmp ]]; then
      mounts+=(--perms 1777 --tmpfs "$folder")
    else
      mounts+=(--tmpfs "$folder")
      seals+=(--remount-ro "$folder")
    fi
  done < <(realpath -qe -- /root /home /run /tmp /var/tmp "${HOME:-/}" "${builds:-/}" \
    | LC_ALL=C sort -u | grep -vx /)

  IFS=: read -ra folders <<<"$PATH"
  mapfile -t folders < <(realpath -qe -- "${folders[@]}")
  inner_path=$(IFS=: && echo "${folders[*]}")
  if file=$(realpath -qe -- "$(command -v node)"); then
    folders+=("${file%/*}") # a link may lead to it
  fi

  for folder in "${folders[@]}"; do
    show_tools "$folder"
  done

  files=(/etc/resolv.conf "${NODE_EXTRA_CA_CERTS-}" "${GIT_SSL_CAINFO-}" "${SSL_CERT_FILE-}"
    "${SSL_CERT_DIR-}")
  mapfile -t -O "${#files[@]}" files < <(realpath -qe -- "${files[@]}")
  for file in "${files[@]}"; do
    if [[ -e $file ]]; then
      show "$file"
    fi
  done
}

# show PATH: makes it visible, read-only, where it is hidden; but not a folder that is hidden
# itself, or above one, say a home in PATH.
show() {
  local folder
  for folder in "${hidden[@]}"; do
    if is_below "$folder" "$1"; then
      return
    fi
  done

  if is_below "$1" "${hidden[@]}"; then
    parents "$1"
    mounts+=(--ro-bind "$1" "$1")
  fi
}

# parents PATH: the folders above it, of those that are hidden, can be passed through. (bubblewrap
# 0.8 makes them for root alone.)
parents() {
  local above=${1%/*}
  local -a missing=()
  while is_below "${above%/*}" "${hidden[@]}"; do
    missing=(--perms 0755 --dir "$above" "${missing[@]}")
    above=${above%/*}
  done

  mounts+=("${missing[@]}")
}

# show_tools FOLDER: one of PATH. The programs of version managers (nvm, pyenv, volta, asdf) need
# what lies beside their folder.
show_tools() {
  local above=${1%/*} each
  for each in lib/node_modules versions libexec installs tools; do
    if [[ -d $above/$each && $HOME/ != "$above/"* ]]; then
      show "$above"
      return
    fi
  done

  show "$1"
}

# hide: covers what holds secrets, wherever it lies.
hide() {
  local path socket=${DOCKER_HOST-}
  for path in "${GITHUB_TOKEN_FILE-}" "${SECRETS-}" "${NOTIFY_FILE-}" "${DOCKER_CONFIG-}" \
    "${SSH_AUTH_SOCK-}" "${socket#unix://}" /var/run/docker.sock; do
    if [[ ! $path ]] || ! path=$(realpath -e -- "$path" 2>/dev/null); then
      continue
    elif [[ -d $path ]]; then
      mounts+=(--tmpfs "$path")
      seals+=(--remount-ro "$path")
    else
      mounts+=(--ro-bind /dev/null "$path")
    fi
  done
}

# cage COMMAND...: sets $command to what runs that in the cage that $mounts describe.
cage() {
  local -a options=(--unshare-pid --unshare-ipc --unshare-uts --die-with-parent --new-session)
  local -a drop=()

  options+=(--cap-drop ALL)
  if [[ $as_root ]]; then
    # Root's number reads root's files, with capabilities or without.
    options+=(--cap-add CAP_SETUID --cap-add CAP_SETGID --cap-add CAP_SETPCAP)
    drop=(setpriv --reuid "$user" --regid "$user" --clear-groups --no-new-privs
      --inh-caps=-all --bounding-set=-all --)
  fi

  # Not as arguments: those of process 1 can be read in the cage, and tell where secrets are.
  exec {arguments}< <(printf '%s\0' "${mounts[@]}" "${seals[@]}" "${options[@]}")
  command=(bwrap --args "$arguments" -- "${drop[@]}" "$@")
}

# clean_environment NAME...: what is exported from here on are these, and a short list.
clean_environment() {
  local name
  local kept=" PATH HOME USER LANG LC_ALL TZ HTTP_PROXY HTTPS_PROXY NO_PROXY http_proxy https_proxy"
  kept+=" no_proxy NODE_EXTRA_CA_CERTS GIT_SSL_CAINFO SSL_CERT_FILE SSL_CERT_DIR $* "
  for name in $(compgen -e); do
    if [[ $kept != *" $name "* || ! ${!name} ]]; then
      unset "$name"
    fi
  done
}

# limit MEMORY PIDS: sets $limits, a command that runs others within them; or puts this process into
# cgroups of its own, $groups, out of $origins.
limit() {
  limits=() groups=() origins=()
  systemd_limits "$@" || cgroup_limits "$(numfmt --from=iec "${1^^}")" "$2" 2>/dev/null
}

# cgroup_limits BYTES PIDS: version 1 has a tree for each controller, version 2 one for all, in
# which a group has either processes or groups with limits: hence also the place beside ours.
# (https://docs.kernel.org/admin-guide/cgroup-v2.html, "No Internal Process Constraint")
cgroup_limits() {
  local own above
  own=$(sed -n 's/^0:://p' /proc/self/cgroup)
  if [[ ! -e /sys/fs/cgroup/cgroup.controllers ]]; then
    own=$(sed -nE 's/^[0-9]+:memory:(.*)/memory\1/p' /proc/self/cgroup)
    enter_group "/sys/fs/cgroup/${own%/}" memory.limit_in_bytes "$1" || return
    own=$(sed -nE 's/^[0-9]+:pids:(.*)/pids\1/p' /proc/self/cgroup)
    enter_group "/sys/fs/cgroup/${own%/}" pids.max "$2"
    return
  fi

  origins=("/sys/fs/cgroup$own")
  for above in "/sys/fs/cgroup${own%/}" "/sys/fs/cgroup${own%/*}"; do
    if echo '+memory +pids' >"$above/cgroup.subtree_control" \
      && enter_group "$above" memory.max "$1" memory.swap.max 0 pids.max "$2"; then
      return
    fi
  done

  return 1
}

# enter_group ABOVE [FILE LIMIT]...: makes a group with these limits, and goes there. What a process
# has left that was killed goes.
enter_group() {
  local group=$1/docker-build-server.$$ old
  origins+=("$1")
  for old in "${group%.*}".*; do
    if [[ ! -e /proc/${old##*.} ]]; then
      rmdir -- "$old" || true
    fi
  done

  shift
  mkdir -- "$group" || return
  groups+=("$group")
  while [[ $# -gt 0 ]]; do
    echo "$2" >"$group/$1" || return
    shift 2
  done

  echo "$$" >"$group/cgroup.procs"
}

# systemd_limits MEMORY PIDS: by a scope, where systemd runs and lets us have one.
systemd_limits() {
  if [[ ! -d /run/systemd/system ]]; then
    return 1
  fi

  limits=(systemd-run --scope --quiet --collect -p "MemoryMax=${1^^}" -p MemorySwapMax=0
    -p "TasksMax=$2")
  if [[ ! $as_root ]]; then
    limits+=(--user)
  fi

  if ! "${limits[@]}" -- true </dev/null 2>/dev/null; then
    limits=()
    return 1
  fi
}

# leave_groups: removes the cgroups, with this process outside, and ends what is left in them. What
# it says is whether the kernel ended something in them for want of memory.
leave_groups() {
  local i folder killed=1 _
  local -a left

  for i in "${!groups[@]}"; do
    folder=${groups[i]}
    if grep -qsE '^oom_kill [1-9]' "$folder/memory.oom_control" "$folder/memory.events"; then
      killed=0
    fi

    echo "$$" >"${origins[i]}/cgroup.procs" || continue
    for _ in {1..500}; do
      if rmdir -- "$folder"; then
        break
      fi

      mapfile -t left <"$folder/cgroup.procs"
      kill -KILL "${left[@]}" || sleep 0.002
    done
  done 2>/dev/null

  return "$killed"
}

# confine COMMAND...: runs it within the limits, in a PID namespace where one can be had. That ends
# with its first process, and then nothing in it lives any more (bubblewrap by itself comes back
# before that). It is a bash, as a process with the number 1 sleeps through any TERM that it does
# not handle, and npm handles none.
confine() {
  local wait_for_it='trap "exit 143" TERM; "$@" & wait "$!"'
  local -a private=(--pid --fork --kill-child --mount-proc) namespace=()

  if unshare "${private[@]}" true 2>/dev/null; then
    namespace=(unshare "${private[@]}")
  elif unshare --user --map-current-user "${private[@]}" true 2>/dev/null; then
    namespace=(unshare --user --map-current-user "${private[@]}")
  fi

  setpriv --pdeathsig KILL -- "${limits[@]}" "${namespace[@]}" bash -c "$wait_for_it" bash "$@"
}

# check: says on standard output why there can be no cage.
check() {
  local words
  if ! command -v bwrap >/dev/null; then
    echo "bubblewrap is not here (install it: apt-get install bubblewrap)"
    return 97
  fi

  for _ in {1..10}; do # for the reason that is told at the end
    cage true
    if words=$("${command[@]}" 2>&1 </dev/null); then
      break
    fi

    words=${words:-bwrap said nothing}
  done

  if [[ $words ]]; then
    words=${words##*$'\n'}
    if [[ $words == *namespace* ]]; then
      words+=" (allow them: sysctl kernel.unprivileged_userns_clone=1, on Ubuntu"
      words+=" kernel.apparmor_restrict_unprivileged_userns=0)"
    fi

    echo "bubblewrap does not work here: $words"
    return 97
  fi
}

if [[ ${1-} == -h ]]; then
  sed -n '2,/^[^#]/s/^# \{0,1\}//p' -- "$0"
  exit 0
fi

if [[ ${1-} == check && $# -eq 1 ]]; then
  mounts=(--ro-bind / / --proc /proc --dev /dev) seals=()
  check
  exit
fi

if [[ $# -lt 7 || ! $1 =~ ^(run|bare)$ ]]; then
  echo "usage: cage.sh run|bare SRC CACHE MEMORY PIDS NAMES COMMAND... (-h explains)" >&2
  exit 2
fi

scratch=$(mktemp -d)
trap 'rm -rf -- "$scratch"' EXIT
mode=$1 src=$2 cache=$3 memory=$4 pids=$5
read -ra names <<<"$6"
shift 6
if [[ $mode == run ]]; then
  user=$(stat -c %u -- "$src")
  if [[ $as_root && $user -eq 0 ]]; then
    echo "cage.sh: $src belongs to root, which no cage holds (give it to another user)" >&2
    exit 2
  fi

  builds=${src%/*/*/*/*}
  plan_mounts
  parents "$src"
  parents "$cache"
  mounts+=(--bind "$src" "$src" --bind "$cache" "$cache" --chdir "$PWD")
  if [[ -d $src/.git ]]; then
    mounts+=(--tmpfs "$src/.git")
  fi

  hide
  if [[ -f $HOME/.npmrc ]]; then
    secret='_auth|_password|username|certfile|keyfile|^[[:space:]]*key[[:space:]]*=|://[^/]*@'
    grep -vE "$secret" -- "$HOME/.npmrc" >"$scratch/npmrc" || true
    chmod 0644 "$scratch/npmrc"
    mounts+=(--ro-bind "$scratch/npmrc" "$HOME/.npmrc")
  fi
fi

# What the server has open is nothing for strangers.
for each in /proc/self/fd/*; do
  each=${each##*/}
  if [[ $each -gt 2 && $each -ne 255 ]]; then
    exec {each}>&-
  fi
done

if ! limit "$memory" "$pids"; then
  echo "cage.sh: no limits on memory and processes: neither systemd nor a cgroup can be had"
fi

trap 'leave_groups || true; rm -rf -- "$scratch"' EXIT

clean_environment "${names[@]}"
if [[ $mode == run ]]; then
  export PATH=$inner_path
fi

# Mounts of containers come and go, and bubblewrap 0.8 ends where one goes that it has just seen:
# "Unable to apply mount flags". Then nothing has begun, and it is tried again.
for _ in {1..10}; do
  code=0
  if [[ $mode == bare ]]; then
    confine "$@" </dev/null || code=$?
    break
  fi

  exec {mark}>"$scratch/begun"
  # shellcheck disable=SC2016 # for the bash in the cage
  cage bash -c 'mark=$1; shift; echo begun >&"$mark"; exec {mark}>&-; exec "$@"' bash "$mark" "$@"
  confine "${command[@]}" </dev/null || code=$?
  exec {mark}>&- {arguments}<&-
  if [[ -s $scratch/begun ]]; then
    break
  fi

  code=97
done

trap - EXIT
rm -rf -- "$scratch"
if leave_groups && [[ $code -ne 0 ]]; then
  code=98
fi

exit "$code"
