"""This module writes the policy files that a new home and a new peer begin with.

Neither shares anything: sharing begins when somebody writes a rule.
"""

from typing import Final

from tocsin.identity.names import OrgId

_POLICY: Final = """\
# What goes to {partner}, and what is taken from it.
# Nothing is shared until a [[share]] rule says so. After a change: tocsin policy plan
partner   = "{partner}"
# agreement = "what this sharing rests on, shown in every explanation"
# expires   = 2030-01-01T00:00:00Z         # nothing is shared from then on

# [[share]]                                # rules are tried in this order; the first that covers a record applies
# name     = "what the desk and counsel call this rule"
# kinds    = ["finding"]                   # finding, incident, evaluation, or "*" for all
# max_tlp  = "GREEN"                       # the most restrictive marking that the rule covers
# when     = 'severity in ["high", "critical"]'
# classes  = "COMMUNITY"                   # fields up to this class: ALWAYS, COMMUNITY or PARTNER
# reveal   = ["prompts"]                   # NAMED fields, for records that name {partner} as recipient
# withhold = ["details"]                   # fields that stay all the same
# withhold_until = 2030-01-01T00:00:00Z     # … but only until then; leave out: for good
# reason   = "trade_secret"                # why fields stay, told to the partner …
# name_withheld = true                     # … if it may know which
# hold     = "72h"                         # goes only so long after it was signed
# approvals = 1                            # goes only when so many further people have agreed
# relayed  = false                         # true: a rule about what others issued and let us pass on, not about ours

[accept]
kinds = ["*"]
max_per_hour = 2000                        # records, and below megabytes; more is taken in the next hour
max_mb_per_hour = 256
# relayed  = true                          # take also what others issued and let {partner} pass on
# legal_hold = true                        # a law forbids us to delete: what they purge is withdrawn, and kept
"""

_FLOOR: Final = """\
# What this organisation never shares, and what needs more than one person, whatever the policy for a partner says.
# Each rule can only make less go. Without this file nothing is sent to anybody. After a change: tocsin policy plan

[[require]]                                # nothing that is marked TLP:RED goes before a second person agrees
min_tlp   = "RED"
approvals = 1

# [[never]]                                # every rule that covers a record applies
# name     = "what the desk and counsel call this rule"
# kinds    = ["*"]                         # leave out: every kind
# min_tlp  = "RED"                         # the least restrictive marking that it covers; leave out: all
# when     = 'tlp == "RED"'                # leave out: always
# partners = ["partner.example"]           # leave out: every partner
# fields   = ["deployers"]                 # what is taken away; leave out: the whole record
# reason   = "third_party_confidential"    # told to the partner where its policy has name_withheld
# until    = 2030-01-01T00:00:00Z          # from then on the rule is over; leave out: it stays
"""


def starter_policy(partner: OrgId) -> str:
    """Return a policy that takes everything from a partner and shares nothing with it."""
    return _POLICY.format(partner=partner)


def starter_floor() -> str:
    """Return a floor that takes nothing away and asks for a second person where a record is marked RED."""
    return _FLOOR
