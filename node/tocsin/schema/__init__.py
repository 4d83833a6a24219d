"""This package reads the contract back from its descriptors: fields, classes, vocabularies, checks, templates.

`contract` turns the descriptors of `proto/tocsin/v1` into plain values, once.
Everything else is made from those values: `check` says whether content keeps
to them, `twin` derives the coarse values (`coarse`) beside the exact ones,
`files` reads what people write, `template` writes what people fill in.
"""
