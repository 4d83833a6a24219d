"""This package says when something may go, and makes the bytes that go.

presentation   what policy says today, and the bytes that follow from it; nothing else makes them
proposal       what would go to whom, by hash: what an approval signs
gate           whether enough people have agreed, and the time has come
due            holds, embargoes, downgrades and retention: what happens when its time has come
lint           what should not be in a record that goes far
"""
