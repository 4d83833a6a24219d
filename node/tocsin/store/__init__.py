"""This package keeps records, feeds, peers and cursors, durably and in one place.

`protocol` says what the floors above may ask; `sqlite` answers; `schema` and
`migrations` say how it lies on disk, for a home must open in every later
version. SQL stands in this package only.
"""
