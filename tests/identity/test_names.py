import pytest

from tests.support.organisations import seeded
from tocsin.errors import MalformedName
from tocsin.identity.names import new_record_id, parse_endpoint, parse_org, parse_record_id


@pytest.mark.parametrize(
    "name",
    ["lab-a.example", "a.b", "aisi.gov.example", "4chan.example", "a" * 63 + ".example", ".".join(["a" * 62] * 4)],
)
def test_a_lower_case_dns_name_is_an_organisation(name):
    assert parse_org(name) == name


BAD_ORGS = {
    "empty": "",
    "no dot": "localhost",
    "upper case": "Lab-A.example",
    "trailing dot": "lab-a.example.",
    "leading dot": ".example",
    "empty label": "lab..example",
    "label begins with a hyphen": "-lab.example",
    "label ends with a hyphen": "lab-.example",
    "underscore": "lab_a.example",
    "space": "lab a.example",
    "newline at the end": "lab-a.example\n",
    "nul": "lab\0.example",
    "path": "../lab.example",
    "slash": "lab/a.example",
    "port": "lab.example:443",
    "cyrillic look-alike": "lаb.example",
    "full-width digit": "lab１.example",
    "long s, which lower-cases elsewhere": "laſ.example",
    "punycode": "xn--lb-7kc.example",
    "other reserved hyphens": "ab--cd.example",
    "IPv4 address": "192.0.2.1",
    "label of 64": "a" * 64 + ".example",
    "name of 254": ".".join(["a" * 62] * 4) + "aaa",
}


@pytest.mark.parametrize("name", BAD_ORGS.values(), ids=BAD_ORGS)
def test_any_other_spelling_of_an_organisation_is_refused(name):
    with pytest.raises(MalformedName) as refusal:
        parse_org(name)
    assert refusal.value.reason == "BAD_NAME"
    assert refusal.value.hint


def test_a_new_record_id_is_a_random_uuid_in_its_one_spelling():
    random = seeded("record ids")
    made = {new_record_id(random) for _ in range(100)}
    assert len(made) == 100
    assert all(parse_record_id(record_id) == record_id for record_id in made)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1F0D6A3C-52C8-4F0E-9B8F-0C7F8F6F9D11",
        "1f0d6a3c52c84f0e9b8f0c7f8f6f9d11",
        "{1f0d6a3c-52c8-4f0e-9b8f-0c7f8f6f9d11}",
        "urn:uuid:1f0d6a3c-52c8-4f0e-9b8f-0c7f8f6f9d11",
        "1f0d6a3c-52c8-1f0e-9b8f-0c7f8f6f9d11",
        "1f0d6a3c-52c8-4f0e-cb8f-0c7f8f6f9d11",
        "1f0d6a3c-52c8-4f0e-9b8f-0c7f8f6f9d11\n",
        "1f0d6a3c-52c8-4f0e-9b8f-0c7f8f6f9d1１",
    ],
)
def test_any_other_spelling_of_a_record_id_is_refused(text):
    with pytest.raises(MalformedName) as refusal:
        parse_record_id(text)
    assert refusal.value.reason == "BAD_NAME"


@pytest.mark.parametrize(
    "text", ["lab-a.example:7443", "localhost:1", "127.0.0.1:65535", "[::1]:7443", "[2001:db8::1]:7443"]
)
def test_a_host_and_a_port_are_an_endpoint(text):
    assert parse_endpoint(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "lab-a.example",
        "lab-a.example:",
        ":7443",
        "lab-a.example:0",
        "lab-a.example:07443",
        "lab-a.example:65536",
        "lab-a.example:７４４３",
        "Lab-A.example:7443",
        "127.1:7443",
        "127.0.0.01:7443",
        "256.0.0.1:7443",
        "::1:7443",
        "[::1:7443",
        "[0:0:0:0:0:0:0:1]:7443",
        "[2001:DB8::1]:7443",
        "[fe80::1%eth0]:7443",
        "[127.0.0.1]:7443",
        "unix:/run/tocsin.sock",
        "https://lab-a.example:7443",
        "lab-a.example:7443\n",
    ],
)
def test_anything_else_is_not_an_endpoint(text):
    with pytest.raises(MalformedName) as refusal:
        parse_endpoint(text)
    assert refusal.value.reason == "BAD_NAME"
