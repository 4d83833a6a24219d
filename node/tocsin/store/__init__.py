"""This package keeps what a node must not forget, durably and in one place.

`protocol`, `decisions` and `delivery` say what the floors above may ask;
`sqlite` answers; `schema`, `second`, `third` and `migrations` say how it lies
on disk, for a home must open in every later version. SQL stands in this
package only.
"""
