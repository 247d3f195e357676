# shellcheck shell=bash
# steps.sh lists the steps of a build, in order, with the files that each leaves: the one list of
# them. The pipeline runs them by it; the tests hold the schema, the Makefile and README against
# it.
# shellcheck disable=SC2034 # for those who source it

steps=()
declare -A leaves=()
small=(images) # of what they leave that which is carried from one machine to another

step() {
  local file

  steps+=("$1")
  leaves[$1]=${*:2}
  for file in "${@:2}"; do
    if [[ $file != @(src|modules) ]]; then
      small+=("$file")
    fi
  done
}

step clone src commit
step npm-install
step version version tags labels
step build image
step unit-test tested reports modules
step tag-push pushed
