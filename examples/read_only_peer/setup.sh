#!/usr/bin/env bash
# Make the home of an organisation that only reads, and add one origin: setup.sh IDENTITY FINGERPRINT
set -euo pipefail
if [ $# -ne 2 ]; then
  echo "usage: setup.sh IDENTITY FINGERPRINT: the origin's identity document, and what its people told you" >&2
  exit 2
fi
identity=$1 fingerprint=$2

# --listen "": no port is opened, ever. The person who runs this has every role. A home that is there already, since
# the fingerprint was mistyped the first time, is used.
if [ ! -e "${TOCSIN_HOME:-$HOME/.tocsin}/node.toml" ]; then
  tocsin init aisi.example --kind government --name "AI Safety Institute" --listen "" --person first
fi

. "$(dirname "$0")/node.sh"
tocsin peer add "$identity" --fingerprint "$fingerprint"
tocsin identity export > aisi.tocsin
