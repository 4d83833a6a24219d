"""This package is what an organisation's own people do with their own node.

    layout       where everything lies in a home; passphrase: what its keys need
    founding     making a home; recovery: letting the owner of a home in again
    home         opening one
    permits      which role may call what
    desk         one method for each call of DeskService; the rest are its rooms, and `room` what they share
    posting · reading · policies · planning · reviewing · auditing · people · peering · syncing · status
    inforce      the policies that count, under a signature; policyfiles: those that people edit
    drafts       what somebody wants to say; linting: what should not be in it
    lookup       what somebody names; waiting: what a record waits for
    messages     what the rooms answer; title: what a record is called in it

Every call names the person who makes it. The desk service of the node uses it;
it knows no gRPC.
"""
