"""This package decides who may see what.

Read it in this order: `model` (what policy files say), `decide` (the one
function that decides), `reach` (which fields a rule reaches). Then `parse`,
`document` and `rules` (from TOML to the model), `condition`, `expression` and
`claims` (the conditions of rules), and `explain` (why, in words).
"""
