# shellcheck shell=bash
# services.sh runs containers beside the tests, on a network of the build's own, and takes reports
# out of the container of the tests. unit-test.sh sources it; engine.sh removes them all.

ready_within=${READY_WITHIN:-120} # seconds for a service

# list_services: sets $services to the names of those that `test.services` has.
list_services() {
  local folder
  services=()
  for folder in "$build"/settings/test/services/*/; do
    if [[ -d $folder ]]; then
      folder=${folder%/}
      services+=("${folder##*/}")
    fi
  done
}

# start_services: starts them, and comes back when all of them are ready. The network leads nowhere
# else, unless `test.network` gives the tests one.
start_services() {
  local service
  local -a options=(--label "docker-build-server.build=$build")

  # An internal network still has this host on it, as its gateway, unless the bridge gets no
  # address.
  # (https://docs.docker.com/engine/network/drivers/bridge/, seen with 20.10 and 28.2)
  if [[ $network == none ]]; then
    options+=(--internal --opt com.docker.network.bridge.inhibit_ipv4=true)
  fi

  : >"$build/.container" # from now on something may be left
  if ! watch docker network create "${options[@]}" -- "$container" >/dev/null; then
    need_engine
    fail 75 "cannot make a network for \"test.services\": $(last_words)"
  fi

  for service in "${services[@]}"; do
    start_service "$service"
  done

  for service in "${services[@]}"; do
    wait_for_service "$service"
  done
}

# start_service NAME: the tests reach it under that name. In a subshell, as nothing else is to see
# its variables.
start_service() (
  local of unknown

  unknown='not found|unknown|denied|unauthorized|invalid reference|pull access'
  of=$(<"$build/settings/test/services/$1/image")
  export_for_container "test/services/$1/env"

  echo "unit-test.sh: service $1 is $of"
  if ! watch docker run --detach --name "$container.$1" --network "$container" \
    --network-alias "$1" --label "docker-build-server.build=$build" \
    --log-driver json-file --log-opt max-size=10m --memory "$memory" --memory-swap "$memory" \
    --pids-limit "$pids" --shm-size "$shm_size" "${variables[@]}" -- "$of" >/dev/null; then
    need_engine
    if said "$unknown"; then
      fail 1 "service $1: there is no image $of to be had: $(last_words)"
    fi

    fail 75 "service $1 cannot be started: $(last_words)"
  fi
)

# wait_for_service NAME: by its `ready`, else by the image's own health check, if it has one.
wait_for_service() {
  local ask state deadline=$((SECONDS + ready_within))
  local -a ready

  list_setting ready "test/services/$1/ready"
  ask='{{.State.Running}} {{if .State.Health}}{{.State.Health.Status}}{{end}} {{.State.ExitCode}}'
  while [[ $SECONDS -lt $deadline ]]; do
    state=$(docker inspect --format "$ask" -- "$container.$1" 2>/dev/null) || need_engine
    if [[ $state != true* ]]; then
      show_services
      fail 1 "service $1 ended with exit code ${state##* } before the tests (it is shown above)"
    fi

    if [[ ${#ready[@]} -gt 0 ]]; then
      if docker exec -- "$container.$1" "${ready[@]}" >"$build/.ready" 2>&1; then
        return
      fi
    elif [[ $state != *starting* && $state != *unhealthy* ]]; then
      return
    fi

    sleep 0.1
  done

  show_services
  if [[ ${#ready[@]} -gt 0 ]]; then
    fail 1 "service $1 was not ready within $ready_within s: ${ready[*]} says:" \
      "$(tail -n 1 "$build/.ready")"
  fi

  fail 1 "service $1 was not healthy within $ready_within s (see \"ready\" in \"test.services\")"
}

# show_services: prints what they have said.
show_services() {
  local service
  for service in "${services[@]}"; do
    docker logs -- "$container.$service" 2>&1 | sed "s/^/$service | /" || true
  done
}

# copy_reports: copies what `test.reports` names out of the container. Of what is there only files
# and folders stay: a link would lead somewhere on this host.
copy_reports() {
  local report place folder

  folder=$(docker inspect --format '{{.Config.WorkingDir}}' -- "$container" 2>/dev/null) || return 0
  for report in "${reports[@]}"; do
    report=${report%/}
    place=$report
    if [[ $report != /* ]]; then
      place=${folder%/}/$report
    fi

    report=$build/reports/${report#/}
    mkdir -p -- "${report%/*}"

    # A file of 1 GiB is no report, and may be one without end.
    if ! (ulimit -f 1048576 && docker cp -- "$container:$place" "$report") >/dev/null 2>&1; then
      echo "unit-test.sh: no $place for \"test.reports\" in the container, or it is too large"
    fi
  done
  find "$build/reports" ! -type f ! -type d -delete
  chmod -R u+rwX,go-ws -- "$build/reports"
}
