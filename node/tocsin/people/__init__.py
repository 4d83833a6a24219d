"""This package says who of an organisation's own people does something, and what they may do.

person   a person: name, roles, signing key, certificate
act      what a person signs: an approval, a rejection, a set of policies
card     how a person introduces itself: its public half, under its own signature

A person's private keys lie in its own profile, never in the home of a node.
"""
