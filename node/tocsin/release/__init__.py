"""This package says when something may go, and makes the bytes that go.

presentation   the bytes that follow from what policy says today; nothing else makes them
office         what release works with: store, policies of the moment, decision log; known: records that were verified
terms          what would go to whom, by hash: what an approval signs
gate           whether enough people have agreed, and the time has come
weigh          a record for a partner: queued now, noted for later, or nothing to go
proposal       what is proposed to people is what would go; review: what people decide about it
due            holds, embargoes, downgrades and retention: what happens when its time has come
lint           what should not be in a record that goes far; shapes: how it is recognised
"""
