# shellcheck shell=bash
# secrets.sh finds the secrets that a build's settings name, as files below $SECRETS. common.sh
# sources it.
#
# SECRETS is a folder that only the server's user reads. A secret NAME is SECRETS/OWNER/NAME/NAME of
# the repository, else SECRETS/NAME. A value stands in no argument, nor in the build directory.

# secret_file NAME: prints its path; fails where it is not there.
secret_file() {
  local file repository

  repository=$(repository)
  for file in "${SECRETS:-/nowhere}/$repository/$1" "${SECRETS:-/nowhere}/$1"; do
    if [[ -f $file && -r $file ]]; then
      printf %s "$file"
      return
    fi
  done

  return 1
}

# find_secrets: sets $secret_files to those that the settings name, for who masks them, and
# $missing_secret to what is to be said of one that is not there.
find_secrets() {
  local file name
  local -a names

  list_setting names secrets
  for file in "$build"/settings/{install,test,test/services/*}/env/*.secret; do
    if [[ -f $file ]]; then
      names+=("$(<"$file")")
    fi
  done

  secret_files=() missing_secret=''
  for name in "${names[@]}"; do
    if file=$(secret_file "$name"); then
      secret_files+=("$file")
    else
      missing_secret="there is no secret $name (put it into a file $name in"
      missing_secret+=" ${SECRETS:-a folder, which SECRETS is to name})"
    fi
  done
}

# need_secrets: fails where one is missing. That is ours, and will be so the next time too.
need_secrets() {
  if [[ $missing_secret ]]; then
    fail_for_good "$missing_secret"
  fi
}

# each_variable FOLDER COMMAND: calls it with NAME, VALUE and `secret` or nothing, for each of
# settings/FOLDER.
each_variable() {
  local file name value secret

  for file in "$build/settings/$1"/*; do
    if [[ ! -f $file ]]; then
      continue
    fi

    name=${file##*/} secret=''
    if [[ $name == *.secret ]]; then
      name=${name%.secret} secret=secret
      value=$(<"$(secret_file "$(<"$file")")") # the newline of an editor at its end is none of it
    else
      IFS= read -r -d '' value <"$file" || true # unlike $(<) keeps newlines at the end
    fi

    "$2" "$name" "$value" "$secret"
  done
}

# export_named NAME VALUE: exports it, and adds the name to $names. It is for a subshell, as nothing
# else is to see what it exports.
export_named() {
  export "$1=$2"
  names+=("$1")
}

# export_for_container FOLDER: sets $variables to options of docker run for them. Only the values of
# secrets are exported: others, PATH say, would change the client itself.
export_for_container() {
  variables=()
  each_variable "$1" container_option
}
container_option() {
  if [[ $3 ]]; then
    export "$1=$2"
    variables+=("--env=$1")
  else
    variables+=("--env=$1=$2")
  fi
}
