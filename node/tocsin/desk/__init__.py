"""This package is what an organisation's own people do with their own node.

    layout       where everything lies in a home; passphrase, policyfiles: what is read there
    founding     making a home
    home         opening one
    desk         one method for each call of DeskService; the rest are its rooms, and `room` what they share
    posting · reading · policies · peering · syncing · status
    drafts       what somebody wants to say; lookup: what somebody names
    messages     what the rooms answer; title: what a record is called in it

The desk service of the node and the command use it alike; it knows no gRPC.
"""
