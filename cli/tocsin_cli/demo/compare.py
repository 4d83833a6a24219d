"""This module shows one record in several views, side by side.

Each row is a field, each column an organisation. A bar stands for a field of
which the organisation was told that it was withheld; a dash for one that it
does not even know of.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from tocsin.v1 import desk_service_pb2 as v1
from tocsin_cli import output
from tocsin_cli.document import content_of
from tocsin_cli.view import bar, field_text, withheld_of

if TYPE_CHECKING:
    from rich.text import Text

SHOWN = (
    "title",
    "finding_kind",
    "severity",
    "subjects[*].family",
    "subjects[*].name",
    "subjects[*].version",
    "subjects[*].checkpoint",
    "summary",
    "hazard_category",
    "atlas_techniques",
    "success_rate.k",
    "success_rate.n",
    "mitigations[*].description",
    "steps[*].description",
    "prompts",
    "discoverers[*].name",
)
"""Fields of a finding that show best how views differ: enough for one screen."""

UNKNOWN = "—"
LABEL_COLUMNS = 20
MOST_LINES = 2


def richness(record: v1.Record) -> int:
    """Return how many of the shown fields a record has."""
    content = content_of(record.content)
    return sum(bool(list(values_at(content, path))) for path in SHOWN)


def print_views(views: Mapping[str, v1.Record], paths: Sequence[str] = SHOWN) -> None:
    """Print a record as each organisation sees it; the first one is its origin."""
    from rich import box
    from rich.table import Table

    origin = next(iter(views.values()))
    grid = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1), header_style="bold", show_edge=False)
    grid.add_column("", width=LABEL_COLUMNS, no_wrap=True)
    columns = (output.width() - LABEL_COLUMNS) // len(views) - 2
    for org in views:
        grid.add_column(org, width=columns)
    for path in paths:
        if list(values_at(content_of(origin.content), path)):
            label = path.removesuffix(".description").removesuffix(".name" if path.startswith("disc") else "")
            grid.add_row(
                label.replace("[*]", ""), *(_cell(record, path=path, columns=columns) for record in views.values())
            )
    output.render(grid)


def values_at(content: object, path: str) -> Iterator[object]:
    """Yield what stands at a field path, one for each element of the lists on the way."""
    name, _, rest = path.partition(".")
    inner = content.get(name.removesuffix("[*]")) if isinstance(content, Mapping) else None
    if inner is None:
        return
    items = inner if isinstance(inner, list) and (rest or name.endswith("[*]")) else [inner]
    for item in items:
        if rest:
            yield from values_at(item, rest)
        else:
            yield item


def _cell(record: v1.Record, *, path: str, columns: int) -> "Text":
    from rich.text import Text

    values = list(values_at(content_of(record.content), path))
    if values:
        return Text(_short("; ".join(field_text(value) for value in values), columns=columns))
    hidden = [field for above, field in withheld_of(record).items() if _covers(above, path)]
    if hidden:
        return Text(bar(hidden[0]), style="magenta")
    return Text(UNKNOWN, style="dim")


def _covers(above: str, path: str) -> bool:
    return path == above or path.startswith((f"{above}.", f"{above}[*]"))


def _short(text: str, *, columns: int) -> str:
    text = " ".join(output.clean(text).split())
    most = columns * MOST_LINES - 4
    return text if len(text) <= most else f"{text[:most].rstrip()}…"
