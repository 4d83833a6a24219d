"""This package moves records between organisations: exactly what policy allows, once in effect, and provably.

publish       a record, or its next version, is stored and weighed for each partner; retract: it is taken back
outbox        a partner's next page is made: policy and gate asked again, numbers given, signed; draft: what goes on it
rounds        pages that are asked for at the same time, in one transaction
page, entry   the signed page itself; cursor: how far a partner has come; reread: how often it may begin again
reveal        further fields of a record, for a partner that holds a part of it
request       what partners ask for; ask: what we ask of others
receive       a peer's page is verified (check) and stored (taking), with cursor and receipt; quota: what it may cost
receipt       what a receiver says of a page; chain: those that we give; acknowledge: those that we are given
rollback      a cursor shows that our store was put back; recovery: what it lost is asked for
directory     who is out there, and by which keys they are known
side          our side of every exchange, whoever dials; bell: something was queued
timekeeper    what is due is done when its time has come
client        calling a peer's node: peer does it over gRPC; wire: what both ends agree on; status: errors on the wire
gossip        logs are compared (tocsin.watch) at every contact; introduction: a peer's newer identity document
pull, worker  fetching a feed, or handing over ours; staying in touch; circuit: how that stands; progress: its gain
"""
