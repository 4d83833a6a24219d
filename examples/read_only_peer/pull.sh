#!/usr/bin/env bash
# Fetch what is new, then write all that may be read to a CSV file: pull.sh [CSV]
# For cron: prints nothing unless something goes wrong, and then exits with the code that says what.
set -euo pipefail
csv=${1:-records.csv}

. "$(dirname "$0")/node.sh"
code=0
tocsin sync > /dev/null || code=$? # one peer may be down: what came from the others is written all the same
tocsin export --all --format csv > "$csv.new"
mv "$csv.new" "$csv" # readers of the file see the old one or the new one, never a half
exit "$code"
