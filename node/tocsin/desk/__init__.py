"""This package is what an organisation's own people do with their own node.

    layout       where everything lies in a home; passphrase: what its keys need
    founding     making a home; recovery: letting the owner of a home in again
    home         opening one
    permits      which role may call what
    desk         one method for each call of DeskService; the rest are its rooms, and `room` what they share
    posting · amending · retracting · reading · policies · planning · reviewing · auditing · people · peering ·
    syncing · outbox · receipts · testing · checks · status
    inforce      the policies that count, under a signature; policyfiles: those that people edit
    drafts       what somebody wants to say; linting: what should not be in it
    outlook      what becomes of a record that is posted; waiting: what it waits for; answers: to retractions
    lookup       what somebody names; examination: what `checks` looks at on this machine
    papers       identity, keys and certificate; rotation: replacing them
    backup       sealed copies of a home; restore: building one from them; fsck: looking through one
    messages     what the rooms answer; title: what a record is called in it

Every call names the person who makes it. The desk service of the node uses it;
it knows no gRPC.
"""
