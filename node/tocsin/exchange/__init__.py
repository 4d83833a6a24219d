"""This package moves records between organisations: exactly what policy allows, once in effect, and provably.

publish       a record is stored, and weighed for each partner
outbox        a partner's next page is made: policy and gate asked again, numbers given, signed
page          the signed page itself; cursor: how far a partner has come
reveal        further fields of a record, for a partner that holds a part of it
request       what partners ask for; ask: what we ask of others
receive       a peer's page is verified and stored, with the cursor
directory     who is out there, and by which keys they are known
side          our side of every exchange, whoever dials; bell: something was queued
timekeeper    what is due is done when its time has come
peer          calling a peer's node; wire: what both ends agree on; status: errors on the wire
pull, worker  fetching a feed, or handing over ours; staying in touch; progress: what that brings
"""
