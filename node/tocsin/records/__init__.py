"""This room says what is said: it issues, redacts and verifies records.

jws         compact signatures over bytes                       RFC 7515
sdjwt       selective disclosure as such, of any issuer         RFC 9901
record      what our own records satisfy on top

A record goes from `parse_record` (nothing believed) through
`UnverifiedRecord.verify` to `VerifiedRecord`; only the last is taken by policy,
store and exchange.
"""
