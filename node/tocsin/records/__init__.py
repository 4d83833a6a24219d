"""This package says what is said: it issues, redacts and verifies records.

jws          compact signatures over bytes; signature: the algorithms                RFC 7515
disclosure   disclosures made, and put back in their places                          RFC 9901
sdjwt        selective disclosure as such, of any issuer; keybinding: its holder's   RFC 9901
record       what our own records satisfy on top
envelope     their plain claims; layout: how their content is hidden
fieldpath    their fields as policies name them

A record goes from `parse_record` (nothing believed) through
`UnverifiedRecord.verify` to `VerifiedRecord`; only the last is taken by policy,
store and exchange.
"""
