"""Key pairs that are made once, and tokens of any kind, including those that no library would make."""

from __future__ import annotations

import base64
import functools
import json
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

SECRET = "k" * 64
NOW = 1767323045
CURVES = {"ES256": ec.SECP256R1(), "ES384": ec.SECP384R1(), "ES512": ec.SECP521R1()}


def private(algorithm: str, number: int = 0) -> Any:
    """A private key; another one for each number."""
    return _private(algorithm, number)


@functools.cache
def _private(algorithm: str, number: int) -> Any:
    if algorithm[:2] in ("RS", "PS"):
        return _rsa(number)
    if algorithm in CURVES:
        return ec.generate_private_key(CURVES[algorithm])
    return ed25519.Ed25519PrivateKey.generate()


@functools.cache
def _rsa(number: int, size: int = 2048) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, size)


def small_rsa() -> str:
    return pem(_rsa(0, 1024).public_key())


def pem(key: Any) -> str:
    if hasattr(key, "public_key"):
        written: bytes = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    else:
        written = key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return written.decode()


def public(algorithm: str, number: int = 0) -> str:
    """The public key for the configuration of a server."""
    return SECRET if algorithm.startswith("HS") else pem(private(algorithm, number).public_key())


def signed(algorithm: str = "HS256", number: int = 0, headers: dict[str, Any] | None = None, **claims: Any) -> str:
    """A token that is valid for an hour, with these claims replaced; None omits a claim."""
    key = SECRET if algorithm.startswith("HS") else private(algorithm, number)
    claims = {"sub": "ann", "iat": NOW, "exp": NOW + 3600} | claims
    claims = {name: value for name, value in claims.items() if value is not None}
    return jwt.encode(claims, key, algorithm, headers=headers)


def jwk(algorithm: str, number: int = 0, **fields: Any) -> dict[str, Any]:
    key = SECRET.encode() if algorithm.startswith("HS") else private(algorithm, number).public_key()
    kinds: dict[str, Any] = {
        "HS": jwt.algorithms.HMACAlgorithm,
        "ES": jwt.algorithms.ECAlgorithm,
        "Ed": jwt.algorithms.OKPAlgorithm,
    }
    made: dict[str, Any] = kinds.get(algorithm[:2], jwt.algorithms.RSAAlgorithm).to_jwk(key, as_dict=True)
    return made | fields


def encoded(value: Any) -> str:
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def forged(head: Any, claims: Any = None, signature: str = "AAAA") -> str:
    """A token of three parts that nobody signed."""
    claims = {"sub": "ann", "exp": NOW + 3600} if claims is None else claims
    return f"{encoded(head)}.{encoded(claims)}.{signature}"


def mac(head: Any, key: str, claims: Any = None) -> str:
    """A token with a correct HMAC-SHA256, whatever its header says."""
    import hashlib
    import hmac

    text = forged(head, claims).rpartition(".")[0]
    return f"{text}.{encoded(hmac.new(key.encode(), text.encode(), hashlib.sha256).digest())}"
