"""This module opens a home: the folder that holds everything an organisation's node owns.

Opening goes in this order, and each step that fails has its own error, so that
people know which part to mend:

1. the folder is a home (HOME_MISSING) and is whole (HOME_DAMAGED)
2. nobody else holds it (HOME_LOCKED)
3. the identity document verifies (HOME_DAMAGED) and has not expired (IDENTITY_EXPIRED)
4. the key files are ours alone (KEY_EXPOSED), readable, and named in the document (HOME_DAMAGED)
5. the store reads as it was written (STORE_CORRUPT)
6. the policy files are read; problems in them are kept, and stop nothing but sharing
7. what a new or changed policy file lets out is queued
"""

import fcntl
import os
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from tocsin.config import load_config
from tocsin.desk.layout import FOR_OTHERS, PRIVATE_FILE, Layout
from tocsin.desk.policyfiles import load_policies
from tocsin.errors import (
    HomeDamaged,
    HomeLocked,
    HomeMissing,
    IdentityExpired,
    KeyExposed,
    MalformedEncoding,
    MalformedIdentity,
)
from tocsin.exchange.publish import queue_changed_policies
from tocsin.identity.certificate import certificate_pem, spki_pin
from tocsin.identity.names import OrgId
from tocsin.identity.root import Organisation, parse_identity
from tocsin.identity.signer import Signer, load_signer
from tocsin.policy.model import PolicySet
from tocsin.store.sqlite import Store, open_store

RESTORE = "restore the home from a backup"


@dataclass(frozen=True, slots=True)
class TlsIdentity:
    """Key and certificate that the node presents, both PEM."""

    key: bytes
    certificate: bytes


class Home:
    """An open home, held until it is closed.

    `policies` is what was read when it was opened: a file that changes later
    takes effect at the next opening. `newly_queued` says how many records the
    files that changed since the last opening have queued for whom.
    """

    def __init__(
        self,
        layout: Layout,
        *,
        organisation: Organisation,
        record_signer: Signer,
        delivery_signer: Signer,
        tls: TlsIdentity,
        store: Store,
        policies: PolicySet,
        newly_queued: Mapping[OrgId, int],
        resources: ExitStack,
    ) -> None:
        """Take over what was opened; `resources` closes it again."""
        self.layout = layout
        self.organisation = organisation
        self.record_signer = record_signer
        self.delivery_signer = delivery_signer
        self.tls = tls
        self.store = store
        self.policies = policies
        self.newly_queued = newly_queued
        self._resources = resources

    def close(self) -> None:
        """Close the store and let go of the lock; closing twice does nothing more."""
        self._resources.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
