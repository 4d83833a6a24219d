"""This package decides who may see what.

Read it in this order: `clauses` and `model` (what policy files say), `decide`
(the one function that decides), `reach` and `withheld` (which fields a rule
reaches, and what stays). Then `parse`, `document` and `rules` (from TOML to the
model), `contradiction` and `idle` (rules that cannot do what they say, or do
nothing), `condition`, `expression`, `cost`, `claims` and `wording` (the conditions
of rules), and for people `explain` and `whatif` (why, in words), `matrix` and
`plan` (what goes at most, and what other files change).
"""
