"""Verify records like an auditor: with the record, the identity document, and the library, and nothing else.

    python examples/verify_offline.py lab-a.tocsin record.sdjwt…

No home, no node, no network. The identity document is proven by its own chain
of signatures; compare the fingerprint that is printed with one that the
organisation gave you. Exits with 4 where a record is refused, and with 1 where
a file cannot be read.
"""

import sys
import time
from pathlib import Path

from tocsin import TocsinError, parse_identity, parse_record


def main(identity: str, *files: str) -> int:
    now = int(time.time())
    organisation = parse_identity(Path(identity).read_bytes(), now=now)
    print(f"{organisation.org}, fingerprint {organisation.fingerprint}")
    refused = 0
    for file in files:
        token = Path(file).read_text(encoding="utf-8", errors="replace").removesuffix("\n")
        try:
            record = parse_record(token).verify(organisation, now=now)
        except TocsinError as error:
            print(f"{file}: refused, {error.reason}: {error}")
            refused += 1
        else:
            shown = ", ".join(record.content)
            print(f"{file}: {record.kind} {record.record_id}, TLP:{record.tlp}, verified; it discloses {shown}")
    return 4 if refused else 0


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    try:
        sys.exit(main(*sys.argv[1:]))
    except (OSError, TocsinError) as error:
        sys.exit(str(error))
