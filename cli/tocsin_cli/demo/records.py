"""This module finds the records that the demo posts.

An installed package carries them as `tocsin_cli/demo_records`; a checkout has
them in `examples/records`, where people read them.
"""

from pathlib import Path

PACKAGED = Path(__file__).parents[1] / "demo_records"
CHECKOUT = Path(__file__).parents[3] / "examples" / "records"


def demo_records() -> tuple[Path, ...]:
    """Return the files of the demo's records, by name."""
    folder = PACKAGED if PACKAGED.is_dir() else CHECKOUT
    return tuple(sorted(folder.glob("*.toml")))
