# Sourced by the scripts here: runs the node for as long as one of them takes. It opens no port.
log=$(mktemp)
TOCSIN_PULL=false tocsin serve 2> "$log" & # it fetches when it is told to
node=$!
finish() {
  kill "$node" 2> /dev/null && wait "$node" || true
  rm -f "$log"
}
trap finish EXIT
until tocsin status > /dev/null 2>&1; do
  if ! kill -0 "$node" 2> /dev/null; then
    cat "$log" >&2 # why it did not start; its exit code is ours
    wait "$node" || exit $?
    exit 1
  fi
  sleep 0.2
done
