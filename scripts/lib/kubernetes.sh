# shellcheck shell=bash
# kubernetes.sh runs agent.sh as a Job of Kubernetes, with an engine of its own beside it. It has
# the functions of swarm.sh, which says what they do.
#
# JOB_TEMPLATE (in the environment) is the Job, else image/job.json: name, image, command and what
# the settings say are filled in here.
# shellcheck disable=SC2034 # for who sources it

FROM='' # what a Job has left on its node goes with it: a rerun starts over

# ask ARGS...: kubectl, for ten seconds at most.
ask() { timeout --foreground 10 kubectl "$@"; }

# job_start [NODE] VARIABLE=VALUE...: the node is only preferred, for the images that it has.
job_start() {
  local filled memory

  wished=''
  memory=$(setting engine/memory)
  filled=$(
    jq --arg name "$job" --arg image "$image" --arg sent "$sent" --arg shared "$shared" \
      --arg work "$work" --arg variables "$(printf '%s\n' "WORK=$work" "${@:2}")" \
      --arg cpus "$(setting engine/cpus)" --arg memory "${memory^^}i" --arg build "$label" \
      --arg constraint "$constraint" --arg node "$1" --arg shunned "${shunned[*]}" \
      "$fill_in" "${JOB_TEMPLATE:-$scripts/image/job.json}"
  ) || return
  ask create -f - <<<"$filled" 2>&1
}

# shellcheck disable=SC2016 # for jq to expand
fill_in='
  ($constraint | split("=")) as [$key, $value]
  | ([{name: "shared", mountPath: $shared}, {name: "work", mountPath: $work}]) as $mounts
  | .metadata.name = $name
  | .metadata.annotations["docker-build-server/build"] = $build
  | .spec.template.spec |= (
      if $key then .nodeSelector[$key] = $value else . end
      | if $shunned == "" then . else
          .affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms =
            [{matchExpressions: [{key: "kubernetes.io/hostname", operator: "NotIn",
              values: ($shunned | split(" "))}]}] end
      | if $node == "" then . else
          .affinity.nodeAffinity.preferredDuringSchedulingIgnoredDuringExecution =
            [{weight: 100, preference: {matchExpressions: [{key: "kubernetes.io/hostname",
              operator: "In", values: [$node]}]}}] end
      | .initContainers[0].volumeMounts += $mounts
      | .containers[0] |= (
          .image = $image | .args = ["/scripts/agent.sh", $sent] | .volumeMounts += $mounts
          | .resources.requests = {cpu: $cpus, $memory}
          | .env += [$variables | split("\n")[] | select(. != "") | split("=")
              | {name: .[0], value: (.[1:] | join("="))}]))'

# job_look: of a Job whose name was used before, the newest pod.
job_look() {
  local said

  state=unknown node='' reason=''
  if ! said=$(ask get job "$job" -o name 2>&1) \
    || ! said=$(ask get pods -l "job-name=$job" -o json 2>&1); then
    if [[ $said == *NotFound* ]]; then
      state=none
    fi

    reason=$said
    return
  fi

  IFS='|' read -r state node reason < <(jq -r "$of_pods" <<<"$said")
}

# shellcheck disable=SC2016 # for jq to expand
of_pods='
  (.items | sort_by(.metadata.creationTimestamp) | last) as $pod
  | [$pod.status.containerStatuses[]?, $pod.status.initContainerStatuses[]?]
  | map(.state.terminated // .state.waiting // empty) as $reasons
  | [(if $pod == null or ($pod.spec.nodeName // "") == "" then "waiting"
      elif any($reasons[]; .reason // "" | test("ImagePull|InvalidImage|^CreateContainer.*Error$"))
        then "ended"
      elif $pod.status.phase == "Running" then "running"
      elif $pod.status.phase == "Pending" then "starting"
      else "ended" end),
     ($pod.spec.nodeName // ""),
     ([$pod.status.conditions[]? | select(.type == "PodScheduled" and .status == "False").message]
      + [$pod.status | .reason // empty, .message // empty]
      + [$reasons[] | "\(.reason // "") \(.message // "") \(.exitCode // "")"]
      | first // "" | gsub("[|\\n]"; " "))]
  | join("|")'

# node_is_lost: then the Job has another pod only when that one is known to have ended, which it
# never is: backoffLimit is 0, and to run it again is ours.
node_is_lost() {
  local status
  status=$(ask get node "$node" \
    -o 'jsonpath={.status.conditions[?(@.type=="Ready")].status}' 2>/dev/null) || true
  [[ $node && $status && $status != True ]]
}

job_end() { ask delete job "$job" --ignore-not-found --wait=false >/dev/null 2>&1 || true; }

jobs_of_builds() {
  ask get jobs -l app.kubernetes.io/name=docker-build-server-job -o json 2>/dev/null | jq -r '
    .items[] | "\(.metadata.name) \(.metadata.annotations["docker-build-server/build"])"' || true
}

# job_everywhere: nothing of a Job stays on its node.
job_everywhere() { :; }
