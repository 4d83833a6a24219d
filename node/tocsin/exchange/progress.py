"""This module counts what a contact with a peer brings."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Progress:
    """What a page has brought, or all pages so far."""

    records: int = 0  # new to this node
    disclosures: int = 0  # records that grew
    refused: int = 0
    retractions: int = 0
    unchanged: int = 0  # entries that brought nothing new, void ones among them

    def plus(self, page: "Progress") -> "Progress":
        """Return the progress with one more page."""
        return Progress(
            self.records + page.records,
            self.disclosures + page.disclosures,
            self.refused + page.refused,
            self.retractions + page.retractions,
            self.unchanged + page.unchanged,
        )
