"""This package reads other people's formats into content of the contract.

Each reader takes the bytes of one file and yields, for each record in it, a
`Mapped` or an `Unmapped`: what cannot be mapped is reported with its place
and reason, and the rest goes on. Nothing of a source is lost: the original
goes into `source`, which never leaves the node. What tools are known to leak
(people, prompts, home paths, git remotes) lands in fields of class LOCAL or
NAMED.
"""

from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType

from tocsin.interchange.atlas import read_atlas
from tocsin.interchange.avid import read_avid
from tocsin.interchange.inspect import read_inspect
from tocsin.interchange.mapping import Mapped, Unmapped

READERS: Mapping[str, Callable[..., Iterator[Mapped | Unmapped]]] = MappingProxyType(
    {"avid": read_avid, "atlas": read_atlas, "inspect": read_inspect}
)

__all__ = ["READERS", "Mapped", "Unmapped", "read_atlas", "read_avid", "read_inspect"]
