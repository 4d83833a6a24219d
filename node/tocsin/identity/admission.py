"""This module decides which Ed25519 public keys may enter an identity document.

OpenSSL verifies signatures under keys of low order, for which one signature
fits every message, and under encodings that RFC 8032 section 5.1.3 tells a
decoder to refuse, so that one key would have several ids. A key is therefore
looked at once, when it is registered: verifying a signature costs nothing more.

A key that is the sum of an honest point and one of low order is let in:
signing under it still takes the secret of the honest part. Signatures whose
R is of low order are another matter, which verifying decides each time.
"""

from functools import lru_cache

from tocsin.errors import MalformedIdentity

ED25519_BYTES = 32

# The curve -x² + y² = 1 + d·x²·y² over the integers modulo p (RFC 8032 section 5.1).
_P = 2**255 - 19
_D = -121665 * pow(121666, -1, _P) % _P
_SIGN = 1 << 255

# The y of the points of order 8, which solve d·y⁴ + 2·y² - 1 = 0. With 1 (order 1), -1 (order 2) and
# 0 (order 4) they are the y of all eight points of low order, whatever the sign of x.
_ORDER_8 = 0x7A03AC9277FDC74EC6CC392CFA53202A0F67100D760B3CBA4FD84D3D706A17C7
_LOW_ORDER = frozenset({0, 1, _P - 1, _ORDER_8, _P - _ORDER_8})


@lru_cache(4096)  # a document is read again at every start and every change, and its keys are the same ones
def verify_public_key(raw: bytes) -> None:
    """Refuse an Ed25519 public key that must not be trusted with anything.

    The steps are those of decoding in RFC 8032 section 5.1.3, and one more:
      1. 32 bytes; the top bit is the sign of x, the rest is y, little-endian
      2. y is below p
      3. x² = (y² - 1) / (d·y² + 1) has a root
      4. x = 0 has no sign
      5. the order is not 1, 2, 4 or 8

    Raises MalformedIdentity (WEAK_KEY).
    """
    if len(raw) != ED25519_BYTES:
        raise _weak(f"has {len(raw)} bytes, not {ED25519_BYTES}")  # 1
    encoded = int.from_bytes(raw, "little")
    y, negative = encoded % _SIGN, encoded >= _SIGN
    if y >= _P:
        raise _weak("is not the canonical encoding of its point")  # 2
    x_squared = (y * y - 1) * pow(_D * y * y + 1, -1, _P) % _P
    if x_squared and pow(x_squared, (_P - 1) // 2, _P) != 1:
        raise _weak("is not a point of the curve")  # 3
    if not x_squared and negative:
        raise _weak("is not the canonical encoding of its point")  # 4
    if y in _LOW_ORDER:
        raise _weak("is a point of low order: anybody can sign for it")  # 5


def _weak(problem: str) -> MalformedIdentity:
    return MalformedIdentity(f"an Ed25519 public key {problem}", reason="WEAK_KEY")
