"""This module holds what the fifth version of a home adds: an index of what is evidence, or was taken back.

Those are few of many records: they are counted without reading the others.
"""

TABLES = (
    """
    CREATE INDEX records_over ON records (issuer, record_id, version)
        WHERE standing NOT IN ('current', 'replaced')
    """,
)
