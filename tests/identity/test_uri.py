"""URIs that say where a key lies are read strictly, and never repeated with what may be a PIN."""

from pathlib import Path

import pytest

from tocsin.errors import HomeDamaged
from tocsin.identity.uri import parse_file_uri, parse_token_uri

HOW = "module-path=/usr/lib/module.so&pin-source=file:/etc/pin"
WHERE = "keys/record.uri"


def test_a_token_uri_names_token_key_module_and_pin_file():
    uri = parse_token_uri(
        "pkcs11:model=SoftHSM%20v2;manufacturer=A%3bB;serial=00ff;token=caf%C3%A9;id=%00%FF;object=record;type=private"
        "?pin-source=file:///etc/a%2520pin&module-path=/usr/lib/module.so",
        where=WHERE,
    )
    assert uri.token == {"model": "SoftHSM v2", "manufacturer": "A;B", "serial": "00ff", "token": "café"}
    assert (uri.label, uri.object_id) == ("record", b"\x00\xff")
    assert (uri.module, uri.pin_file) == (Path("/usr/lib/module.so"), Path("/etc/a pin"))
    assert uri.shown.endswith(";type=private")


BAD = {
    "no token": f"pkcs11:object=record?{HOW}",
    "no key": f"pkcs11:token=t?{HOW}",
    "nothing": f"pkcs11:?{HOW}",
    "no query": "pkcs11:token=t;object=record",
    "no module": "pkcs11:token=t;object=record?pin-source=file:/etc/pin",
    "no PIN": "pkcs11:token=t;object=record?module-path=/usr/lib/module.so",
    "a relative module": "pkcs11:token=t;object=record?module-path=module.so&pin-source=file:/etc/pin",
    "a module by name": f"pkcs11:token=t;object=record?{HOW}&module-name=softhsm2",
    "a slot": f"pkcs11:token=t;object=record;slot-id=1?{HOW}",
    "an attribute of tomorrow": f"pkcs11:token=t;object=record;x-new=1?{HOW}",
    "an attribute twice": f"pkcs11:token=t;object=record;object=record?{HOW}",
    "an attribute in the wrong part": f"pkcs11:token=t;object=record;{HOW}",
    "an empty value": f"pkcs11:token=;object=record?{HOW}",
    "a stray separator": f"pkcs11:token=t;;object=record?{HOW}",
    "a blank": f"pkcs11:token=my token;object=record?{HOW}",
    "a line end": f"pkcs11:token=t;object=record?{HOW}\n",
    "half an escape": f"pkcs11:token=%4;object=record?{HOW}",
    "no UTF-8": f"pkcs11:token=%FF;object=record?{HOW}",
    "a NUL": f"pkcs11:token=t%00;object=record?{HOW}",
    "a public key": f"pkcs11:token=t;object=record;type=public?{HOW}",
    "a PIN from a command": "pkcs11:token=t;object=record?module-path=/usr/lib/module.so&pin-source=%7Ccat%20pin",
    "a PIN from elsewhere": "pkcs11:token=t;object=record?module-path=/m.so&pin-source=https://example.org/pin",
}


@pytest.mark.parametrize("text", BAD.values(), ids=BAD)
def test_a_token_uri_that_says_too_little_or_too_much_is_refused(text):
    with pytest.raises(HomeDamaged) as refusal:
        parse_token_uri(text, where=WHERE)
    assert (refusal.value.reason, refusal.value.where) == ("HOME_DAMAGED", WHERE)
    assert "pkcs11:token=…" in refusal.value.hint


def test_a_pin_in_the_uri_is_refused_and_not_repeated():
    with pytest.raises(HomeDamaged, match="holds a PIN") as refusal:
        parse_token_uri(f"pkcs11:token=t;object=record?{HOW}&pin-value=4321", where=WHERE)
    assert "4321" not in f"{refusal.value} {refusal.value.hint}"


@pytest.mark.parametrize(
    "text", ["file:/srv/record.pem", "file:///srv/record.pem", "file://localhost/srv/record%2Epem"]
)
def test_a_file_uri_names_an_absolute_path(text):
    assert parse_file_uri(text, where=WHERE) == Path("/srv/record.pem")


@pytest.mark.parametrize(
    "text", ["file:record.pem", "file://host/record.pem", "file:", "/srv/k", "file:/k?x", "file:/k#x", "file://[/k"]
)
def test_another_form_of_file_uri_is_refused(text):
    with pytest.raises(HomeDamaged) as refusal:
        parse_file_uri(text, where=WHERE)
    assert (refusal.value.reason, refusal.value.where) == ("HOME_DAMAGED", WHERE)
