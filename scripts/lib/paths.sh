# shellcheck shell=bash
# paths.sh makes git's pathspecs of `paths`. skips-ci.sh and version.sh source it, and set
# $patterns.

# with_pathspecs COMMAND...: runs it with the pathspecs behind it, all in all for each file that
# $patterns match. Of the patterns that match a file the last one counts, while in git an exclusion
# counts wherever it stands: so each run of patterns has those exclusions that come after it.
with_pathspecs() {
  local at
  local -a included=() excluded=()

  for ((at = ${#patterns[@]} - 1; at >= 0; at--)); do
    if [[ ${patterns[at]} != !* ]]; then
      included+=(":(glob)${patterns[at]}")
      continue
    fi

    if [[ ${#included[@]} -gt 0 ]]; then
      "$@" "${included[@]}" "${excluded[@]}"
    fi

    included=()
    excluded+=(":(exclude,glob)${patterns[at]#!}")
  done

  if [[ ${#included[@]} -gt 0 ]]; then
    "$@" "${included[@]}" "${excluded[@]}"
  fi
}
