"""This package is what an organisation's own people do with their own node.

    layout       where everything lies in a home
    founding     making a home
    home         opening one
    desk         one method for each call of DeskService; the rest are its rooms
    posting · reading · policies · peering · syncing · status

The desk service of the node and the command use it alike; it knows no gRPC.
"""
