"""This module asks two other implementations of TUF what they think of a chain of root metadata.

`tuf` is the library that we use ourselves, but for its client's rules, which we
do not; `@tufjs/models` shares no code with either. It is fetched into a folder
of the test, and the test is skipped where that is not possible.
"""

import json
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tuf.api.exceptions import ExpiredMetadataError, RepositoryError
from tuf.ngclient._internal.trusted_metadata_set import TrustedMetadataSet
from tuf.ngclient.config import EnvelopeType

Chain = Sequence[Mapping[str, object]]

PACKAGE = "@tufjs/models@4"
PATIENCE_SECONDS = 18

_SCRIPT = """
const { Metadata, MetadataKind } = require('@tufjs/models');
const chains = JSON.parse(require('fs').readFileSync(0, 'utf8'));
const verdicts = chains.map(({ chain, now }) => {
  try {
    let previous = null;
    for (const value of chain) {
      const version = Metadata.fromJSON(MetadataKind.Root, value);
      if (version.signed.version !== (previous ? previous.signed.version + 1 : 1)) return 'version';
      if (previous) previous.verifyDelegate('root', version);
      version.verifyDelegate('root', version);
      previous = version;
    }
    return previous.signed.isExpired(new Date(now * 1000)) ? 'expired' : '';
  } catch (error) {
    return error.name || 'error';
  }
});
process.stdout.write(JSON.stringify(verdicts));
"""


def ask_python_tuf(chain: Chain, *, now: int) -> str:
    """Return why the client of python-tuf refuses a chain, or nothing."""
    first, *later = (json.dumps(version).encode() for version in chain)
    try:
        trusted = TrustedMetadataSet(first, EnvelopeType.METADATA)
        trusted.reference_time = datetime.fromtimestamp(now, UTC)
        if trusted.root.version != 1:
            return "version"
        for version in later:
            trusted.update_root(version)
        trusted.update_timestamp(b"{}")  # asks for the expiry of the last root first, and then refuses what is none
    except ExpiredMetadataError:
        return "expired"
    except RepositoryError as error:
        return "" if "deserialize" in str(error).lower() and trusted.root.version == len(chain) else str(error)
    return ""


def install_tufjs(folder: Path) -> Path:
    """Fetch the package into a folder, or skip the test and say why that is not possible."""
    for program in ("node", "npm"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not here, so @tufjs/models cannot be asked")
    command = ["npm", "install", "--prefix", ".", "--no-audit", "--no-fund", "--ignore-scripts", PACKAGE]
    try:
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        pytest.skip(f"{PACKAGE} did not come within {PATIENCE_SECONDS} s")
    if done.returncode:
        pytest.skip(f"{PACKAGE} cannot be fetched: {done.stderr.strip().splitlines()[-1:]}")
    return folder


def ask_tufjs(folder: Path, chains: Sequence[Chain], *, now: int) -> list[str]:
    """Return why the package refuses each chain, or nothing."""
    asked = json.dumps([{"chain": chain, "now": now} for chain in chains])
    done = subprocess.run(
        ["node", "-e", _SCRIPT], cwd=folder, input=asked, capture_output=True, text=True, timeout=60, check=True
    )
    return json.loads(done.stdout)
