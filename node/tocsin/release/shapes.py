r"""This module says whether a text holds something of a shape that gives people, machines or secrets away.

    email        an address of a person                 long-quote   200 characters or more in quotes or a code block
    home-path    /home/x, /Users/x, C:\Users\x          ip-address   but for loopback, documentation and the like
    git-remote   git@host:x/y, https://host/x/y.git     key          private keys, tokens, long random text

A shape may be innocent; each rule says in its tests what it passes over. No
pattern here takes longer than its text is long, give or take a constant.
"""

import ipaddress
import math
import re
from collections import Counter
from collections.abc import Callable, Mapping

# A quotation as long as this is hardly an example any more, and most attack texts are longer.
MIN_QUOTE = 200

# Random base64 of 32 characters has 4.7 bits for each, give or take 0.1; names made of words stay below 4.2.
MIN_RUN = 32
MIN_ENTROPY = 4.2

# Names are made of words: between hyphens, underscores and slashes nothing of them is longer.
MIN_RANDOM = 16

# An address whose local part is `git` is how repositories are reached, and nobody's.
_EMAIL = re.compile(r"(?<![\w.%+-])(?!git@)[\w%+-][\w.%+-]{0,63}@(?:\w(?:[\w-]{0,61}\w)?\.){1,8}[^\W\d_]{2,24}\b")

_HOME = re.compile(
    r"(?<![\w.~-])/(?:(?:mnt|media|var|export|usr|cygdrive|Volumes)/(?:[\w.-]+/)?)?(?:home|Users)/[\w.]"
    r"|\b[A-Za-z]:[\\/]+(?i:Users|Documents and Settings)[\\/]+[\w.]"
)

_HOME_WORDS = ("/home/", "users", "documents and settings")

_GIT = re.compile(
    r"\b(?:git|ssh|git\+ssh)://[^\s/]+/\S"
    r"|(?<![\w.+-])[\w.+-]{1,64}@[\w.-]{1,253}:(?!\d+\b)[\w~.-]{0,100}/[\w./~-]"
    r"|\bhttps?://[^\s\"'<>]{1,300}\.git\b"
    r"|\bhttps?://[^\s/@\"'<>]{1,200}@[^\s/@]{1,253}/"  # with the credentials of somebody
)
_GIT_SIGNS = ("@", ".git", "git://", "ssh://")

# What follows the letters that keys of a maker begin with.
_KEYS = {
    "-----BEGIN ": r"(?:[A-Z0-9]+ ){0,3}PRIVATE KEY(?: BLOCK)?-----",
    "AGE-SECRET-KEY-1": r"[02-9A-Z]{20,}",
    "eyJ": r"[\w-]{10,}\.eyJ[\w-]{10,}\.",  # a JWT: both of its parts begin with {"
    **dict.fromkeys(("AKIA", "ASIA"), r"[A-Z0-9]{16}\b"),  # Amazon
    **dict.fromkeys(("ghp_", "gho_", "ghu_", "ghs_", "ghr_"), r"\w{36}"),  # GitHub
    "github_pat_": r"\w{22}",
    "glpat-": r"[\w-]{20}",  # GitLab
    "sk-": r"(?=[\w-]{0,200}\d)[\w-]{20}",  # OpenAI, Anthropic and others
    **dict.fromkeys(("sk_live_", "rk_live_"), r"\w{16}"),  # Stripe
    "AIza": r"[\w-]{35}",  # Google
    "hf_": r"[A-Za-z0-9]{30}",  # Hugging Face
    "xox": r"[abeprs]-[\w-]{10}",  # Slack
}
_KEY_SHAPES = {start: re.compile(rf"(?<!\w){re.escape(start)}{rest}") for start, rest in _KEYS.items()}
_SECRET_WORDS = ("key", "token", "secret", "passw")
_CALLED_SECRET = re.compile(
    r"(?:key|token|secret|passw(?:or)?d)[\"']?\s{0,3}[:=]\s{0,3}[\"']?(?=[\w+/=-]{0,64}\d)[\w+/=-]{16}", re.IGNORECASE
)
_RUN = re.compile(rf"(?<![\w+/=-])[\w+/-]{{{MIN_RUN},}}", re.ASCII)
_URL = re.compile(r"\b[a-z][a-z0-9+.-]{1,20}://[^\s\"'<>]+")

# What stands before is looked at after the first digit, which is quickly found. `tag/1.2.3.4` is the name of a version.
_IPV4 = re.compile(r"[0-9](?<![\w.-].)(?<!\w/.)[0-9]{0,2}\.(?:[0-9]{1,3}\.){2}[0-9]{1,3}(?!\w|\.[0-9])")
_IPV6 = re.compile(r"[0-9A-Fa-f:](?<![\w:.].)[0-9A-Fa-f:]{1,37}(?:[0-9A-Fa-f]|::)(?!\w|:[\w:])")
# What stands before four numbers that are no address, and how far before.
_NUMBERED = re.compile(r"(?:version|release|build|section|clause|chapter|article|\bv|§)[ .:=]{0,2}$", re.IGNORECASE)
_BEFORE = 12
# Beyond these ranges there are no hosts, but there are names such as `dead::beef` in program texts.
_REACHABLE = tuple(map(ipaddress.IPv6Network, ("2000::/3", "fc00::/7")))
_DOCUMENTATION = tuple(
    map(ipaddress.ip_network, ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "2001:db8::/32", "3fff::/20"))
)

# By the mark that a quotation begins with: most texts have none of them. What stands before it is looked at behind it.
_QUOTES = {
    "“": re.compile(rf"“(?<![\w.,;!?…]“)[^”]{{{MIN_QUOTE}}}"),
    "„": re.compile(rf"„[^“”]{{{MIN_QUOTE}}}"),
    "«": re.compile(rf"«[^»]{{{MIN_QUOTE}}}"),
    "'": re.compile(rf"'(?<!\w')[^']{{{MIN_QUOTE},}}'(?!\w)"),
}
_BLOCK = re.compile(r"(?:^[ \t]*>.*\n?)+", re.MULTILINE)
_FENCE = "```"


def has_email(text: str) -> bool:
    """Say whether there is an address of somebody."""
    return "@" in text and _EMAIL.search(text) is not None


def has_home_path(text: str) -> bool:
    """Say whether there is a path below somebody's home folder."""
    folded = text.lower()
    return any(word in folded for word in _HOME_WORDS) and _HOME.search(text) is not None


def has_git_remote(text: str) -> bool:
    """Say whether there is an address that a repository is fetched from, which a page about it is not."""
    return any(sign in text for sign in _GIT_SIGNS) and _GIT.search(text) is not None


def has_key(text: str) -> bool:
    """Say whether there is a key of a known shape, or something that is called one."""
    if any(start in text and shape.search(text) for start, shape in _KEY_SHAPES.items()):
        return True
    folded = text.lower()
    return any(word in folded for word in _SECRET_WORDS) and _CALLED_SECRET.search(text) is not None


def has_random_text(text: str) -> bool:
    """Say whether there is a run of letters and digits that was drawn.

    Digests in hex have letters of one case, and addresses of pages often have
    ids: both are passed over.
    """
    if max(map(len, text.split()), default=0) < MIN_RUN:
        return False
    return any(map(_is_random, _RUN.findall(_URL.sub(" ", text))))


def _is_random(run: str) -> bool:
    if not all(any(map(test, run)) for test in (str.isupper, str.islower, str.isdigit)):
        return False
    if max(map(len, re.split("[-_/]", run))) < MIN_RANDOM:
        return False
    shares = [count / len(run) for count in Counter(run).values()]
    return -sum(share * math.log2(share) for share in shares) >= MIN_ENTROPY


def has_ip_address(text: str) -> bool:
    """Say whether there is an address that says where something is."""
    for found in _IPV4.finditer(text) if text.count(".") >= 3 else ():
        before = text[max(0, found.start() - _BEFORE) : found.start()]
        if not _NUMBERED.search(before) and _is_place(found[0]):
            return True
    return text.count(":") >= 2 and any(map(_is_place, _IPV6.findall(text)))


def _is_place(text: str) -> bool:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return False
    if any(address in network for network in _DOCUMENTATION):
        return False
    if isinstance(address, ipaddress.IPv6Address):
        return any(address in network for network in _REACHABLE) and any(map(str.isdigit, text))
    # link-local: the same on every machine, and the metadata service that findings talk about
    return not (address.is_loopback or address.is_link_local or address.is_reserved or address.packed[0] == 0)


def has_long_quote(text: str) -> bool:
    """Say whether a quotation, a code block or a quoted paragraph is as long as prompts are."""
    if len(text) < MIN_QUOTE:
        return False
    pieces = text.split(_FENCE)
    quoted = pieces[1::2]
    for prose in pieces[::2]:
        for mark in ('"', "`"):
            quoted += prose.split(mark)[1:-1:2]  # what stands between an odd mark and the next one
        quoted += _BLOCK.findall(prose) if ">" in prose else ()
    if any(len(one) >= MIN_QUOTE for one in quoted):
        return True
    return any(mark in text and quote.search(text) for mark, quote in _QUOTES.items())


SHAPES: Mapping[str, Callable[[str], bool]] = {
    "email": has_email,
    "home-path": has_home_path,
    "git-remote": has_git_remote,
    "key": has_key,
    "ip-address": has_ip_address,
    "long-quote": has_long_quote,
}
