"""This module drives the TAXII client `taxii2-client`, in an environment of its own (benchmarks/taxii.lock).

    python taxii_client.py http://127.0.0.1:9000/taxii2/

What is to be done comes on standard input, a JSON object on each line, and what
it took goes to standard output; times are taken here, around the calls alone.

    {"envelopes": [{"objects": [...]}, ...]}    add each to the collection: {"seconds": 0.1, "objects": 100}
    {"limit": 256, "added_after": "2026-..."}   fetch page by page; without a limit, whatever the server gives
"""

import json
import sys
import time

from taxii2client.v21 import Server, as_pages


def main() -> None:
    """Answer each line until there is none."""
    collection = Server(sys.argv[1]).api_roots[0].collections[0]
    tell({"title": collection.title})
    for line in sys.stdin:
        asked = json.loads(line)
        work = add if "envelopes" in asked else fetch
        begun = time.perf_counter()
        objects = work(collection, **asked)
        tell({"seconds": time.perf_counter() - begun, "objects": objects})


def add(collection, *, envelopes: list) -> int:  # noqa: ANN001
    """Add each envelope by a call of its own; return how many objects were taken."""
    return sum(collection.add_objects(envelope).success_count for envelope in envelopes)


def fetch(collection, *, limit: int = 0, **filters: str) -> int:  # noqa: ANN001
    """Fetch what there is; return how many objects came."""
    pages = as_pages(collection.get_objects, per_request=limit, **filters)
    return sum(len(page.get("objects", ())) for page in pages)


def tell(answer: dict) -> None:
    """Write a line at once."""
    print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
