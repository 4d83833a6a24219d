#!/usr/bin/env bash
# Two labs exchange a finding on one machine. Ports: PORT_A and PORT_B, by default 7471 and 7472.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
nodes=()
cleanup() {
  for node in "${nodes[@]}"; do kill "$node" 2>/dev/null && wait "$node" || true; done
  rm -rf "$work"
}
trap cleanup EXIT
cd "$work"
export XDG_CONFIG_HOME=$work/config # the keys of people go there, and away with the rest

lab_a() { tocsin --home lab-a "$@"; }
lab_b() { tocsin --home lab-b "$@"; }
until_true() { for _ in $(seq 300); do "$@" && return; sleep 0.1; done; echo "gave up: $*" >&2; return 1; }

# Each organisation makes its home, and the first of its people, who has every role.
lab_a init lab-a.example --kind lab --name "Lab A" --listen "127.0.0.1:${PORT_A:-7471}" --person first
lab_b init lab-b.example --kind lab --name "Lab B" --listen "127.0.0.1:${PORT_B:-7472}" --person first

# Both nodes run, and say so in their logs. Everything below asks the running nodes.
tocsin --home lab-a serve 2> lab-a.log & nodes+=($!)
tocsin --home lab-b serve 2> lab-b.log & nodes+=($!)
until_true grep -qs "serves on" lab-a.log
until_true grep -qs "serves on" lab-b.log

# Each gives the other its identity document. The fingerprint comes by another way, such as the phone.
lab_a identity export > lab-a.tocsin
lab_b identity export > lab-b.tocsin
lab_a peer add lab-b.tocsin --fingerprint "$(lab_b identity fingerprint)"
lab_b peer add lab-a.tocsin --fingerprint "$(lab_a identity fingerprint)"

# An analyst of lab-a posts a finding. Nobody gets it: nothing is shared until a policy says so.
lab_a post "$here/finding.toml"

# What a policy would newly release is seen before it is put in force, under the signature of whoever does it.
lab_a policy plan "$here/lab-b.example.toml"
lab_a policy apply "$here/lab-b.example.toml" --yes

# Lab-b has it a moment later.
arrived() { [[ -n $(lab_b list 2> /dev/null) ]]; }
until_true arrived
lab_b list

# What lab-b holds is lab-a's own signed record without the withheld parts.
id=$(lab_b export --all --format jsonl | sed -E 's/.*"record_id": "([^"]*)".*/\1/')
lab_b show "$id"
lab_b export "$id" > record.sdjwt
tocsin verify record.sdjwt --identity lab-a.tocsin
