#!/usr/bin/env bats
# lib/hints.sh: what would make a build better, once and only where it applies.

load ../support/helper

setup() {
  common_setup
  cd "$work" || return
  repository app README.md x
}

# hints DOCKERFILE [FILE CONTENT]...: sets $output to those of a build of such a repository.
hints() {
  commit app "${context:+$context/}package.json" '{"devDependencies": {"jest": "1"}}' "${@:2}" \
    "${dockerfile:-Dockerfile}" "$1"
  configure app "${settings:-{\}}"
  stage
  git clone -q app "$build/src"
  printf '%s\n' "${log[@]}" >"$build/console.log"
  run -0 "$scripts/lib/hints.sh" "$build"
}

@test "a Dockerfile that does all of it, with what that costs where it is known" {
  log=('#7 [2/3] COPY . .' '#8 [3/3] RUN npm ci && npm run build' '#3 transferring context: 2B done' '#5 [internal] load build context' '#5 transferring context: 45.20MB 0.3s done' '#5 transferring context: 1.20kB done' '#8 12.1 added 7 packages' '#8 DONE 12.3s')
  hints $'FROM node\nCOPY . .\nRUN npm ci \\\n  && npm run build'
  [[ ${lines[0]} == 'hint: Dockerfile copies everything before "npm ci && npm run build", so that any change has it run again (12.3 s here): copy package.json and'* ]]
  [[ ${lines[1]} == 'hint: what "npm ci && npm run build" downloads is kept'*'RUN --mount=type=cache,target=/root/.npm …' ]]
  [[ ${lines[2]} == 'hint: there is no .dockerignore: '*'(45.20MB here)'* ]]
  [[ ${lines[3]} == 'hint: the image holds development dependencies'* ]]
  [[ ${#lines[@]} -eq 4 ]]

  run -0 "$scripts/lib/hints.sh" "$build" # and not again
  [[ -z $output ]]
}

@test "one that does none of it" {
  log=('#8 DONE 12.3s')
  hints $'FROM node AS deps\nCOPY package*.json ./\nRUN --mount=type=cache,target=/root/.npm npm ci\nCOPY . .\nFROM node\nRUN --mount=type=cache,target=/root/.npm npm ci --omit=dev\nCOPY --from=deps /app/dist .' .dockerignore .git
  [[ -z $output ]] || { echo "$output" && false; }
}

@test "the root's Dockerfile, for a folder without one" {
  context=api settings='{"context": "api"}' log=()
  hints 'FROM node' api/.dockerignore .git
  [[ $output == "hint: the root's Dockerfile builds the folder api"*'say "dockerfile": "Dockerfile"' ]]
  settings='{"context": "api", "dockerfile": "Dockerfile"}'
  rm -rf builds
  hints 'FROM node'
  [[ -z $output ]]
}

@test "a pipeline ends with them, unless they are switched off" {
  sample other
  configure other
  stage
  run -0 "$scripts/pipeline.sh" "$build"
  [[ $output != *hint:* ]] || { echo "$output" && false; } # there is nothing to say
  printf 'FROM %s\nWORKDIR /app\nCOPY . .\nRUN npm ci\n' "$BASE_IMAGE" >other/Dockerfile
  commit other
  configure other '{"hints": false}'
  stage
  run -0 "$scripts/pipeline.sh" "$build"
  [[ $output != *hint:* ]]
  configure other
  stage
  run -0 "$scripts/pipeline.sh" "$build"
  [[ $output == *$'\nhint: Dockerfile copies everything before "npm ci"'*$'\npipeline.sh: success' ]] || { echo "$output" && false; }
}
