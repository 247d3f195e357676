# shellcheck shell=bash
# output.sh watches what is printed: for console.log, and for a step that asks what a tool said.
# common.sh sources it.

# open_console: from here on all that is printed goes to console.log too. The tee outlives the
# signals that end a step, and holds no lock. Sets $tee and $terminal.
open_console() {
  exec {terminal}>&1
  exec > >(trap '' INT TERM && keep -ap -- "$build/console.log" {LOCK_FD}>&-) 2>&1
  tee=$!
}

# keep OPTION... FILE: a tee, which covers the secrets of the build, if it has any.
keep() {
  if [[ ${#secret_files[@]} -eq 0 ]]; then
    exec tee "$@"
  fi

  wrapper builds.mask "${secret_files[@]}" | tee "$@"
}

# close_console: comes back when the last line is in console.log.
close_console() {
  exec >&"$terminal" 2>&1
  drained "$tee"
}

# size_of_log NAME: sets it to the bytes that console.log has.
size_of_log() {
  local _size
  _size=$(stat -Lc %s -- "$build/console.log" 2>/dev/null) || _size=0
  printf -v "$1" %s "$_size"
}

# drained PID: waits until that tee has ended, which mostly is a moment; and no longer than two
# seconds, as a stray process can hold its pipe open.
drained() {
  local _
  for _ in {1..500}; do
    kill -0 "$1" 2>/dev/null || return 0
  done

  timeout --foreground 2 tail -s 0.01 --pid="$1" -f /dev/null || true
}

# watch COMMAND...: runs it; what it prints is seen as ever, and kept for `said`. Its exit code.
watch() {
  local code=0 tee

  # Without braces a child would start the tee for a command that is no function, and $! be
  # another's.
  { "$@"; } > >(keep -- "$build/.said" {LOCK_FD}>&-) 2>&1 || code=$?
  tee=$!
  drained "$tee"

  # A tee that has ended with 1 could not write it all. (With 127 bash does not know any more.)
  unkept=0
  kill -0 "$tee" 2>/dev/null || wait "$tee" || unkept=$?

  # docker may leave its last line open.
  if [[ $code -ne 0 && -n $(tail -c 1 -- "$build/.said") ]]; then
    echo
  fi

  return "$code"
}

# said PATTERN: did the watched command print it? An extended regular expression, in letters of any
# case.
said() { [[ -s $build/.said ]] && grep -qiE -- "$1" "$build/.said"; }

# last_words: prints the last line of the watched command, in which a tool itself says why it ended.
# (BuildKit has a number before each line that is not its own.)
last_words() {
  tail -n 20 -- "$build/.said" | tr -d '\0\r' \
    | grep -vE '^[[:space:]]*$|^#[0-9]+ |^View build details' | tail -n 1 | cut -c 1-300 || true
}

# no_room: is the disk of the builds full, or the engine's? Or could not all be kept that a command
# said?
no_room() {
  local free

  if [[ ${unkept-0} -eq 1 ]]; then
    return 0
  fi

  for free in $(df --output=avail -B1 -- "$build" "$(engine_folder)" 2>/dev/null | tail -n +2); do
    if [[ $free -lt 4194304 ]]; then
      return 0
    fi
  done

  return 1
}

# find_in_log LINE: waits until the tee has written what was printed so far, of which this line is
# the last; a second at most, as a stray process may print on. Sets $log_size.
find_in_log() {
  local _

  for _ in {1..100}; do
    if { [[ $(tail -c "$((${#1} + 1))" -- "$build/console.log") == "$1" ]]; } 2>/dev/null; then
      break
    fi

    sleep 0.01
  done

  size_of_log log_size
}
