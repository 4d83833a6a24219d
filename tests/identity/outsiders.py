"""This module asks two other implementations of TUF what they think of a chain of root metadata.

`tuf` is the library that we use ourselves, but for its client's rules, which we
do not; `@tufjs/models` shares no code with either. What is locked in `tufjs/`
is fetched once into the user's caches, and whoever asks is skipped where that
is not possible.
"""

import hashlib
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

from tests.cache import cache_folder

Chain = Sequence[Mapping[str, object]]

LOCKED = Path(__file__).with_name("tufjs")
PATIENCE_SECONDS = 120

# npm waits 10 seconds before it asks again for what did not come, and then 60: one request that fails is enough.
_ASK_AGAIN = (
    "--fetch-retries=3",
    "--fetch-retry-mintimeout=500",
    "--fetch-retry-maxtimeout=3000",
    "--fetch-timeout=20000",
)
_INSTALL = ("npm", "ci", "--prefer-offline", "--no-audit", "--no-fund", "--ignore-scripts", *_ASK_AGAIN)

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


def install_tufjs() -> Path:
    """Return the folder with the package; skip, and say why, where it is not here and cannot be fetched."""
    for program in ("node", "npm"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not here, so @tufjs/models cannot be asked")
    locked = hashlib.sha256((LOCKED / "package-lock.json").read_bytes()).hexdigest()[:16]
    with cache_folder("tufjs") as cache:
        folder, coming = cache / locked, cache / "coming"
        if not folder.exists():  # it has its name when all of it is there
            shutil.rmtree(coming, ignore_errors=True)
            shutil.copytree(LOCKED, coming)
            _fetch(coming)
            coming.rename(folder)
    return folder


def _fetch(folder: Path) -> None:
    try:
        done = subprocess.run(
            _INSTALL, cwd=folder, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        pytest.skip(f"@tufjs/models did not come within {PATIENCE_SECONDS} s")
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if line.startswith("npm error")]
        if "npm error code EINTEGRITY" in said:
            pytest.fail("what the registry gave is not what is locked")
        pytest.skip(f"@tufjs/models cannot be fetched: {'; '.join(said[:4])}")


def ask_tufjs(folder: Path, chains: Sequence[Chain], *, now: int) -> list[str]:
    """Return why the package refuses each chain, or nothing."""
    asked = json.dumps([{"chain": chain, "now": now} for chain in chains])
    done = subprocess.run(
        ["node", "-e", _SCRIPT], cwd=folder, input=asked, capture_output=True, text=True, timeout=60, check=True
    )
    return json.loads(done.stdout)
