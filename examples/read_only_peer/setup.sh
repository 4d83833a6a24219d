#!/usr/bin/env bash
# Make the home of an organisation that only reads, and add one origin: setup.sh IDENTITY FINGERPRINT
set -euo pipefail
identity=${1:?the identity document of the origin}
fingerprint=${2:?the fingerprint that its people told you}

# --listen "": no port is opened, ever.
tocsin init aisi.example --kind government --name "AI Safety Institute" --listen ""
tocsin peer add "$identity" --fingerprint "$fingerprint"
tocsin identity export > aisi.tocsin
