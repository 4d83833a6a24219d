"""This package watches what organisations show of their transparency logs: read whole, compared, cosigned, or stopped.

origins      what an origin shows is held against what was read of it; catching: what proves two histories
ours         what others hold of our own log
growth       how a log goes on, as it travels; signatures: what is put together under one checkpoint
comparison   what two sides say of the same logs at a contact; cosigning: what a witness is asked
library      what a log that is held can prove to whoever asks

`tocsin.tlog` has the trees and the notes; here they meet the store, the peers and the people.
"""
