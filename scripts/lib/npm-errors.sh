# shellcheck shell=bash
# npm-errors.sh says who is to blame where an install failed, by npm's own code: for npm-install.sh.

# last_of PATTERN: prints what stands in parentheses in the last line of it that npm has printed.
last_of() { tail -n 400 -- "$build/.said" | sed -nE "s/^npm (ERR!|error) $1\$/\2/p" | tail -n 1; }

# explain CODE: fails. npm prints its code in a line of its own at the end; what a script prints may
# look like that, and then blames a repository for what is its own.
explain() {
  local npm failed="$runs failed" host

  npm=$(last_of 'code ([A-Z0-9_]+)')
  if [[ $image ]]; then
    need_engine
  fi

  if [[ $image && $1 -eq 125 ]]; then
    fail 75 "the engine cannot run $image: $(last_words) (see \"install.image\" in config.json)"
  fi

  if [[ $1 -eq 97 ]]; then
    fail 75 "$failed: the cage cannot be had: $(last_words)"
  fi

  if [[ $1 -eq 98 ]]; then
    fail 1 "$failed: it was ended at the memory limit of $memory (see \"install.memory\")"
  fi

  if [[ $1 -eq 137 ]]; then
    fail 75 "$failed: it was ended by KILL (out of memory? dmesg tells)"
  fi

  if [[ $npm == ENOSPC ]] || no_room; then
    fail 75 "npm could not write to the disk, which is full (df shows where)"
  fi

  host=$(tail -n 400 -- "$build/.said" | grep -oE "https?://[^/[:space:]'\"]+" | tail -n 1) || true
  case $npm in
    ECONNRE* | ETIMEDOUT | ENOTFOUND | EAI_AGAIN | ESOCKETTIMEDOUT | ERR_SOCKET_TIMEOUT | \
      EHOSTUNREACH | ENETUNREACH | E429 | E5[0-9][0-9])
      fail 75 "npm could not reach its registry: $npm${host:+ from $host} (npm's reason is above)"
      ;;
    E401 | E403) fail 1 "$failed: $npm, the registry wants other credentials (see .npmrc)" ;;
    E404) fail 1 "$failed: ${npm}, $(missing_package) is not in the registry${host:+ $host}" ;;
    ETARGET) fail 1 "$failed: $npm, $(last_of '(No matching version found for [^ ]+)\..*')" ;;
    EINTEGRITY) fail 1 "$failed: $npm, a package is not what the lock file says it is" ;;
    EBADENGINE) explain_engine ;;
    ERESOLVE)
      fail 1 "$failed: $npm, peer dependencies conflict" \
        "(mend package.json, or set legacy-peer-deps=true in .npmrc)"
      ;;
    EUSAGE)
      fail 1 "$failed: the lock file is out of step (mend it by npm install, and commit it)"
      ;;
    128) explain_git ;;
    *) ;;
  esac

  if said 'command failed' && [[ $npm =~ ^([0-9]+|ELIFECYCLE)$ ]] || [[ $npm == 127 ]]; then
    explain_script
  fi

  explain_missing_tool "$1"
  if [[ $manager == npm ]]; then
    fail 1 "$failed: ${npm:-exit code $1}: $(last_words_of_npm)"
  fi

  fail 1 "$failed with exit code $1: $(last_words)"
}

# missing_package: prints the name of what the registry does not have.
missing_package() {
  local name
  name=$(last_of "404 [^']*'([^' ]+)'.*")
  if [[ ! $name ]]; then
    name=$(last_of '404 Not Found - GET ([^ ]+).*')
  fi

  echo "${name:-a package}"
}

# explain_engine: the host's node is not the one that a package asks for.
explain_engine() {
  local wanted actual
  wanted=$(last_of 'notsup Required: +\{"node":"([^"]+)".*')
  actual=$(node --version 2>/dev/null) || true
  fail 1 "$runs failed: EBADENGINE, a package wants node ${wanted:-of another version}," \
    "this host has ${actual:-none} (set \"install.image\": \"node:${wanted//[^0-9.]/}\")"
}

# explain_git: a dependency that is fetched by git, which npm's 128 tells of.
explain_git() {
  local words unreached
  unreached='Could not resolve|Connection (timed out|refused)|Failed to connect'
  unreached+='|Network is unreachable|returned error: 5[0-9][0-9]'
  words=$(last_of '(fatal: .*|ssh: .*)')
  if [[ $words =~ $unreached ]]; then
    fail 75 "a dependency could not be fetched by git: $words"
  fi

  fail 1 "a dependency could not be fetched by git: ${words:-$(last_of 'command (.*)')}" \
    "(the install has no token and no ssh key; name an https url, or publish it as a package)"
}

# explain_script: which one failed, of which package, and what it said last.
explain_script() {
  local path command words of=its
  path=$(last_of 'path (.*)')
  command=$(last_of 'command (.* -c .*)')
  command=${command#* -c }
  command=${command#-- }
  if [[ $path == */node_modules/* ]]; then
    of="the install script of ${path##*/node_modules/}"
  else
    of="the project's own install script"
  fi

  words=$(last_words_of_npm)
  fail 1 "$runs failed: $of failed: ${command:+$command: }${words:-it said nothing}"
}

# last_words_of_npm: prints the last line that is not about npm's log.
last_words_of_npm() {
  local about_the_log='A complete log of this run|_logs/|^(code|path|command|errno|syscall) '
  tail -n 40 -- "$build/.said" | tr -d '\0\r' | sed -E 's/^npm (ERR!|error) ?//' \
    | grep -vE "^[[:space:]]*\$|$about_the_log|Lifecycle script|^npm (warn|notice)" \
    | tail -n 1 | cut -c 1-300 || true
}

# explain_missing_tool CODE: fails where the manager is not on this host.
explain_missing_tool() {
  if [[ $1 -eq 127 && $manager ]] && ! command -v npm >/dev/null && [[ ! $image ]]; then
    fail 75 "npm is not on this host" \
      "(install nodejs and npm, or set \"install.image\": \"node:20\")"
  fi

  if [[ $1 -eq 127 && ! $manager ]]; then
    fail 1 "$runs failed: there is no ${command[0]} ${image:+in $image}${image:-here}" \
      "(set \"install.command\" to one that is, or \"install.image\" to an image that has it)"
  fi
}
