"""Tokens that others made: those of RFC 9901 itself, its generator's, the reference implementation's, and negatives."""

import json

import pytest
import yaml

from tests.records.forge import NOW, Ed25519Forger, digest, disclose
from tests.support.shared import shared
from tocsin.errors import DisclosureMismatch, MalformedRecord, RecordExpired
from tocsin.records.keybinding import Binding
from tocsin.records.sdjwt import verify_sdjwt

SUITES = ("rfc9901-examples", "testcases")
# The tokens were issued in 2023 and expire in 2029; none depends on a moment in between.
ISSUED = 1_683_000_000


def read_json(path):
    return json.loads(path.read_text())


def cases():
    folders = [folder for suite in SUITES for folder in sorted(shared(f"vectors/sd-jwt/{suite}").iterdir())]
    return [pytest.param(path, id=f"{path.parent.name}/{path.name}") for path in folders if path.is_dir()]


def read_token(path):
    """Read a token that the generator wrapped at 68 columns for the RFC."""
    return path.read_text().replace("\n", "")


def settings_of(folder):
    settings = yaml.safe_load((folder.parent / "settings.yml").read_text())
    key = settings["key_settings"]["issuer_key"]
    return settings, {name: key[name] for name in ("kty", "crv", "x", "y")}


def skip_json_serialisation(folder):
    if not (folder / "sd_jwt_issuance.txt").exists():
        pytest.skip("JSON serialisation (RFC 9901 section 8): only the compact form is read")


@pytest.mark.parametrize("folder", cases())
def test_what_the_issuer_hands_out_is_accepted_whole(folder):
    skip_json_serialisation(folder)
    _, jwk = settings_of(folder)
    found = verify_sdjwt(read_token(folder / "sd_jwt_issuance.txt"), jwk=jwk, now=ISSUED)
    claims = {name: value for name, value in found.payload.items() if name not in ("iss", "iat", "exp", "cnf")}
    wanted = read_json(folder / "user_claims.json")
    assert claims == {name: value for name, value in wanted.items() if name not in ("iss", "iat", "exp", "cnf")}


@pytest.mark.parametrize("folder", cases())
def test_what_the_holder_presents_is_accepted_redacted(folder):
    skip_json_serialisation(folder)
    settings, jwk = settings_of(folder)
    now, binding = ISSUED, None
    if (folder / "kb_jwt_serialized.txt").exists():
        binding = Binding(nonce=settings["key_binding_nonce"], audience=settings["identifiers"]["verifier"])
        now = read_json(folder / "kb_jwt_payload.json")["iat"]
    token = read_token(folder / "sd_jwt_presentation.txt")
    found = verify_sdjwt(token, jwk=jwk, now=now, binding=binding)
    assert found.payload == read_json(folder / "verified_contents.json")


def test_the_tokens_printed_in_rfc_9901_are_accepted():
    _, jwk = settings_of(shared("vectors/sd-jwt/rfc9901-examples/simple"))
    vectors = read_json(shared("vectors/sd-jwt/rfc9901-literal/appendix_a.json"))
    assert len(vectors) == 4
    for vector in vectors:
        found = verify_sdjwt(without_binding(vector["token"]), jwk=jwk, now=ISSUED)
        assert found.payload == vector["expected"], vector["name"]


def without_binding(token):
    """Cut off the key binding, whose nonce the RFC made years ago."""
    return token[: token.rindex("~") + 1]


NEGATIVES = {
    "unreferenced": (DisclosureMismatch, "BAD_DISCLOSURE"),
    "name _sd": (DisclosureMismatch, "CLAIM_COLLISION"),
    "name ...": (DisclosureMismatch, "CLAIM_COLLISION"),
    "dup array digest": (DisclosureMismatch, "DUP_DIGEST"),
    "array disc in _sd": (DisclosureMismatch, "BAD_DISCLOSURE"),
    "dup disclosure": (DisclosureMismatch, "BAD_DISCLOSURE"),
    "expired": (RecordExpired, "NOT_VALID_NOW"),
    "claim collision": (DisclosureMismatch, "CLAIM_COLLISION"),
}


@pytest.mark.parametrize("name", NEGATIVES)
def test_each_negative_case_is_refused_with_its_reason(name):
    vectors = read_json(shared("vectors/sd-jwt-negative/negative-cases.json"))
    assert vectors["cases"].keys() == {"ok", *NEGATIVES}, "a case was added: say why it is refused"
    error, reason = NEGATIVES[name]
    with pytest.raises(error) as refusal:
        verify_sdjwt(vectors["cases"][name], jwk=vectors["pub"], now=ISSUED)
    assert refusal.value.reason == reason


def test_the_one_case_that_is_not_negative_is_accepted():
    vectors = read_json(shared("vectors/sd-jwt-negative/negative-cases.json"))
    assert verify_sdjwt(vectors["cases"]["ok"], jwk=vectors["pub"], now=ISSUED).payload == {"a": 1}


def javascript_cases():
    folder = shared("vectors/sd-jwt-js/packages/core/test")
    return [pytest.param(read_json(path), id=path.stem) for path in sorted(folder.glob("*.json"))]


class Framed:
    """Claims laid out as a disclosure frame of sd-jwt-js says: `_sd` names what is hidden, `_sd_decoy` counts."""

    def __init__(self):
        self.disclosures = {}
        self.salts = 0

    def lay_out(self, value, frame, path=()):
        if isinstance(value, dict):
            return self.lay_out_object(value, frame, path)
        if isinstance(value, list):
            return self.lay_out_list(value, frame, path)
        return value

    def lay_out_object(self, members, frame, path):
        hidden, shown = [self.decoy() for _ in range(frame.get("_sd_decoy", 0))], {}
        for name, value in members.items():
            inner = self.lay_out(value, frame.get(name, {}), (*path, name))
            if name in frame.get("_sd", ()):
                hidden.append(self.hide((*path, name), name, inner))
            else:
                shown[name] = inner
        return {**shown, "_sd": sorted(hidden)} if hidden else shown

    def lay_out_list(self, elements, frame, path):
        shown = []
        for index, value in enumerate(elements):
            inner = self.lay_out(value, frame.get(str(index), {}), (*path, str(index)))
            is_hidden = index in frame.get("_sd", ())
            shown.append({"...": self.hide((*path, str(index)), inner)} if is_hidden else inner)
        return shown + [{"...": self.decoy()} for _ in range(frame.get("_sd_decoy", 0))]

    def hide(self, path, *items):
        self.salts += 1
        text, found = disclose(f"salt-{self.salts}", *items)
        self.disclosures[path] = text
        return found

    def decoy(self):
        self.salts += 1
        return digest(f"decoy-{self.salts}")

    def presented(self, frame):
        """Return the disclosures of the paths a presentation frame names, and of what they stand in."""
        wanted = set()
        for path in named(frame):
            wanted |= {path[: length + 1] for length in range(len(path))}
        return [text for path, text in self.disclosures.items() if path in wanted]


def presented_claims(case):
    if case["claims"] == {"is_over": EMPTIED}:
        return {"is_over": {}}
    return case["presentedClaims"]


def named(frame, path=()):
    for name, value in frame.items():
        if value is True:
            yield (*path, name)
        else:
            yield from named(value, (*path, name))


# An object of which nothing is disclosed: RFC 9901 section 7.1 leaves it empty, that project's file leaves it out.
EMPTIED = {"13": False, "18": True, "21": False}


@pytest.mark.parametrize("case", javascript_cases())
def test_claims_framed_as_in_sd_jwt_js_are_presented_as_there(case):
    forger, framed = Ed25519Forger(), Framed()
    payload = framed.lay_out(case["claims"], case["disclosureFrame"])
    token = forger.token(payload, *framed.presented(case["presentationFrames"]))
    assert verify_sdjwt(token, jwk=forger.jwk, now=NOW).payload == presented_claims(case)
    whole = forger.token(payload, *framed.disclosures.values())
    assert verify_sdjwt(whole, jwk=forger.jwk, now=NOW).payload == case["claims"]


def test_a_json_serialisation_is_refused_as_a_form_that_is_not_read():
    _, jwk = settings_of(shared("vectors/sd-jwt/testcases/json_serialization_general"))
    text = shared("vectors/sd-jwt/testcases/json_serialization_general/sd_jwt_issuance.json").read_text()
    with pytest.raises(MalformedRecord) as refusal:
        verify_sdjwt(text, jwk=jwk, now=ISSUED)
    assert refusal.value.reason == "BAD_FORM"
