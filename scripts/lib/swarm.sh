# shellcheck shell=bash
# swarm.sh runs agent.sh as a job of Docker Swarm, whose manager is the engine that docker reaches.
# launch.sh and prune-nodes.sh source it, or kubernetes.sh, which has the same functions, and set
# $job (a name), $shared, $work, $image and $label.
# shellcheck disable=SC2034 # for who sources it

# job_start [NODE] VARIABLE=VALUE...: sends the job; to that node, or to any but those in $shunned.
# It is tried once: at most one task, which never runs again. A reservation is no limit; it makes
# Swarm spread builds, and let them wait.
job_start() {
  local node=$1 each source target
  local -a options=(--reserve-cpu "$(setting engine/cpus)")

  options+=(--reserve-memory "$(setting engine/memory)")
  if [[ $node ]]; then
    options+=(--constraint "node.hostname==$node")
  fi

  for each in "${shunned[@]}"; do
    options+=(--constraint "node.hostname!=$each")
  done

  if [[ $constraint ]]; then
    options+=(--constraint "node.labels.${constraint%%=*}==${constraint#*=}")
  fi

  for each in "${@:2}"; do
    options+=(--env "$each")
  done

  # A secret's label is its path below /run/secrets: a name, or OWNER/NAME/name.
  while IFS=$'\t' read -r source target; do
    if [[ $target == "$(repository)"/* || $target != */*/* ]]; then
      options+=(--secret "source=$source,target=/run/secrets/$target")
    fi

    if [[ $target == docker/config.json ]]; then
      options+=(--env DOCKER_CONFIG=/run/secrets/docker)
    fi
  done < <(quick_docker secret ls --filter label=docker-build-server \
    --format '{{.Name}}\t{{.Label "docker-build-server"}}' 2>/dev/null)

  create_service replicated-job "${options[@]}" --label "docker-build-server.build=$label" \
    -- /scripts/agent.sh "$sent"
}

# create_service MODE OPTION... -- COMMAND...
create_service() {
  local mode=$1
  local -a options=()

  shift
  while [[ $1 != -- ]]; do
    options+=("$1")
    shift
  done

  # What it prints is the reason, should it fail; else an ID.
  quick_docker service create --quiet --detach --name "$job" --mode "$mode" \
    --label "docker-build-server.shared=$shared" \
    --container-label "docker-build-server.shared=$shared" --restart-condition none \
    --with-registry-auth --no-resolve-image --network host \
    --mount type=bind,source=/var/run/docker.sock,target=/var/run/docker.sock \
    --mount "type=bind,source=$shared,target=$shared" \
    --mount "type=bind,source=$work,target=$work" \
    --env "WORK=$work" --env 'NODE={{.Node.Hostname}}' --env SECRETS=/run/secrets \
    "${options[@]}" "$image" "${@:2}" 2>&1
}

# job_look: sets $state to none, waiting, running, ended or unknown; $node where it is; $reason.
job_look() {
  local said words

  state=unknown node='' reason=''
  if ! said=$(quick_docker service ps --no-trunc "$job" \
    --format '{{.Node}}|{{.CurrentState}}|{{.Error}}' 2>&1); then
    if [[ $said == *"no such service"* ]]; then
      state=none
    fi

    reason=$said
    return
  fi

  IFS='|' read -r node words reason <<<"${said%%$'\n'*}" || true
  case ${words%% *} in
    Running) state=running ;;
    Complete | Failed | Rejected | Shutdown | Orphaned | Remove) state=ended ;;
    Pending | New | '')
      state=waiting node=''
      ;;
    *) state=starting ;;
  esac
}

# node_is_lost: is the machine of the job gone?
node_is_lost() {
  local status
  status=$(quick_docker node inspect --format '{{.Status.State}}' "$node" 2>/dev/null) || true
  [[ $node && $status == down ]]
}

# job_end: removes it. A job that runs is not ended by that on every version: who wants it to end
# leaves a file `cancelled`.
job_end() { quick_docker service rm "$job" >/dev/null 2>&1 || true; }

# jobs_of_builds: prints the name and the build of each.
jobs_of_builds() {
  local -a ids

  mapfile -t ids < <(quick_docker service ls --quiet --filter label=docker-build-server.build \
    --filter "label=docker-build-server.shared=$shared" 2>/dev/null)
  if [[ ${#ids[@]} -gt 0 ]]; then
    quick_docker service inspect "${ids[@]}" \
      --format '{{.Spec.Name}} {{index .Spec.Labels "docker-build-server.build"}}' 2>/dev/null
  fi
}

# job_everywhere VARIABLE=VALUE COMMAND...: once on each machine, and removed when that is done.
job_everywhere() {
  local _

  job_end
  create_service global-job --env "$1" -- "${@:2}" >/dev/null || return 0
  for _ in {1..600}; do
    sleep 1
    if ! quick_docker service ps --format '{{.CurrentState}}' "$job" 2>/dev/null \
      | grep -qvE '^(Complete|Failed|Rejected|Shutdown|Orphaned|Remove)'; then
      break
    fi
  done

  job_end
}
