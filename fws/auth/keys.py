"""Keys that verify JSON Web Tokens: a configured key, a file, or a JWK Set (RFC 7517) from a file or a URL."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol

import jwt
import msgspec
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed448 import Ed448PrivateKey, Ed448PublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key
from cryptography.x509 import load_pem_x509_certificate

from fws.auth.credential import Denied, unavailable
from fws.base.files import FileWatch

logger = logging.getLogger("fws")

Algorithm = Literal[
    "HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"
]  # fmt: skip
# RFC 7518: a secret is at least as long as the hash (3.2), an RSA key has at least 2048 bits (3.3), and each algorithm
# of elliptic curves has one curve (3.4).
HASH = {"HS256": 32, "HS384": 48, "HS512": 64}
MIN_RSA = 2048
CURVES = {"ES256": "secp256r1", "ES384": "secp384r1", "ES512": "secp521r1"}
KEY_TYPES = {"HS": "oct", "RS": "RSA", "PS": "RSA", "ES": "EC", "Ed": "OKP"}
# The most keys of a set, and its most bytes. Providers have two to ten keys of 1.5 KB with their certificates.
MAX_KEYS = 100
MAX_SET = 256 * 1024
# The most keys that one token is tried with. A verification takes 0.1 ms.
MAX_TRIED = 10
# Seconds: between two fetches that unknown keys ask for; that one of these waits; after which a set is fetched again;
# after which a set that could not be fetched again is not trusted any more.
AGAIN = 10.0
PATIENCE = 5.0
REFRESH = 300.0
STALE = 24 * 3600.0

_PRIVATE = (RSAPrivateKey, EllipticCurvePrivateKey, Ed25519PrivateKey, Ed448PrivateKey)


class Key(msgspec.Struct, frozen=True):
    """A key and its name in tokens (`kid`); None for a key that verifies tokens with any name."""

    kid: str | None
    key: Any

    def __repr__(self) -> str:
        return f"<Key {self.kid}>"


class Keyring(Protocol):
    """Finds the key of a token."""

    def find(self, kid: str | None) -> Sequence[Any]:
        """The keys that may have signed a token, the likeliest first.

        Args:
            kid: the name of the key in the token's header; None if it has none.

        Raises:
            Denied: there is no such key, or the keys are not available now.
        """


class Keys:
    """A fixed set of keys."""

    def __init__(self, keys: Iterable[Key]) -> None:
        self._keys = tuple(keys)

    def find(self, kid: str | None) -> Sequence[Any]:
        """As `Keyring`. Any key may have signed a token that does not name one (RFC 7515 4.1.4)."""
        found = [key.key for key in self._keys if key.kid is None or (kid is not None and key.kid == kid)]
        if not found and kid is None:
            found = [key.key for key in self._keys[:MAX_TRIED]]
        if not found:
            raise Denied("key", "The token's key is not known here.")
        return found


class FileKeys:
    """The keys of a file, which is read again when it changes. If it is invalid, that is logged and the old keys stay.

    Args:
        parse: reads keys from the content of the file.
        clock: monotonic seconds.

    Raises:
        OSError, ValueError: the file cannot be read at the start.
    """

    def __init__(self, path: Path, parse: Callable[[bytes], Keys], clock: Callable[[], float]) -> None:
        self._path = path
        self._parse = parse
        self._keys = self._read()
        self._watch = FileWatch(path, self._load, self._failed, clock)

    def find(self, kid: str | None) -> Sequence[Any]:
        self._watch.update()
        return self._keys.find(kid)

    def _load(self) -> None:
        self._keys = self._read()

    def _failed(self, reason: str) -> None:
        logger.error("the new keys of %s cannot be used, and the old ones stay: %s", self._path.name, reason)

    def _read(self) -> Keys:
        with open(self._path, "rb") as file:
            data = file.read(MAX_SET + 1)
        if len(data) > MAX_SET:
            raise ValueError(f"it has more than {MAX_SET} bytes")
        return self._parse(data)


class UrlKeys:
    """The keys of a URL. A thread fetches them, so that nobody else waits.

    A login with an unknown key waits for the next fetch, for at most 5 s.

    Args:
        fetch: returns the set; raises `FwsError` or ValueError.
        clock: monotonic seconds.
    """

    def __init__(self, name: str, fetch: Callable[[], Keys], clock: Callable[[], float]) -> None:
        self._name = name
        self._fetch = fetch
        self._clock = clock
        self._keys: Keys | None = None
        self._fetched = float("-inf")
        self._tried = float("-inf")
        self._under_way: threading.Event | None = None

    def find(self, kid: str | None) -> Sequence[Any]:
        age = self._clock() - self._fetched
        if self._keys is not None and age < 2 * REFRESH:
            if age > REFRESH:
                self.refresh()
            try:
                return self._keys.find(kid)
            except Denied:
                pass
        fetch = self.refresh()
        if fetch is not None:
            fetch.wait(PATIENCE)
        if self._keys is None or self._clock() - self._fetched > STALE:
            raise unavailable()
        return self._keys.find(kid)

    def refresh(self) -> threading.Event | None:
        """Fetch the set in a thread, unless that was tried within the last 10 s.

        Returns:
            An event that is set at the end of the fetch that is under way; None if there is none.
        """
        if self._under_way is not None:
            return self._under_way
        if self._clock() - self._tried < AGAIN:
            return None
        self._tried = self._clock()
        done = self._under_way = threading.Event()
        threading.Thread(target=self._refresh, args=(done,), daemon=True).start()
        return done

    def _refresh(self, done: threading.Event) -> None:
        try:
            self._keys = self._fetch()
            self._fetched = self._clock()
        except Exception as error:  # a server may answer anything
            logger.error("no keys from %s: %s", self._name, error)
        finally:
            self._under_way = None
            done.set()


def key_of(algorithm: str, data: bytes) -> Any:
    """The verifying key from a secret, or from a public key, certificate or private key in PEM.

    Raises:
        ValueError: the key does not fit the algorithm. The message says what is right, and does not quote the key.
    """
    if not data.strip():
        raise ValueError("the key is empty")
    pem = b"-----BEGIN " in data
    if algorithm in HASH:
        # Everybody who has the public key could sign tokens with it: CVE-2016-10555 and CVE-2022-29217.
        if pem or data.lstrip().startswith((b"ssh-", b"ecdsa-")):
            raise ValueError(
                f"{algorithm} takes a secret, and this is a key of a key pair: write the algorithm of the pair"
            )
        return _fit(algorithm, data)
    if not pem:
        raise ValueError(f"{algorithm} takes a public key in PEM, which begins with -----BEGIN")
    try:
        if b"PRIVATE KEY" in data:
            return _fit(algorithm, load_pem_private_key(data, None).public_key())
        if b"BEGIN CERTIFICATE" in data:
            return _fit(algorithm, load_pem_x509_certificate(data).public_key())
        return _fit(algorithm, load_pem_public_key(data))
    except (TypeError, UnsupportedAlgorithm):
        raise ValueError("the key is encrypted, or of an unknown kind") from None
    except ValueError as error:
        if type(error) is ValueError and str(error).startswith(algorithm):
            raise
        raise ValueError("this is not a valid key in PEM") from None


def signing_key_of(algorithm: str, data: bytes) -> Any:
    """The signing key from a secret or a private key in PEM. Raises ValueError as `key_of`."""
    key_of(algorithm, data)
    if algorithm in HASH:
        return data
    if b"PRIVATE KEY" not in data:
        raise ValueError("signing requires the private key")
    return load_pem_private_key(data, None)


def keys_of_set(algorithm: str, data: bytes) -> Keys:
    """The keys of a JWK Set that are for the algorithm. Others are skipped. Raises ValueError if none is left."""
    try:
        found = msgspec.json.decode(data)
        listed = found["keys"]
        entries = [entry for entry in listed if isinstance(entry, dict)]
    except (ValueError, TypeError, KeyError, RecursionError):
        raise ValueError("this is not a JWK Set") from None
    if len(listed) > MAX_KEYS:
        raise ValueError(f"a JWK Set of more than {MAX_KEYS} keys")
    keys = []
    for entry in entries:
        # RFC 7517 4.2 and 4.4. The configured algorithm counts, not the key's (RFC 8725 3.1).
        if entry.get("use", "sig") != "sig" or not _is_for(entry.get("alg", algorithm), algorithm):
            continue
        # RFC 7517 4.3: the operations that the key is for, if it names them.
        operations = entry.get("key_ops")
        if isinstance(operations, list) and "verify" not in operations:
            continue
        if entry.get("kty") != KEY_TYPES[algorithm[:2]]:
            continue
        kid = entry.get("kid")
        try:
            key = jwt.PyJWK(entry, algorithm).key
            if isinstance(key, _PRIVATE):
                key = key.public_key()
            keys.append(Key(kid if isinstance(kid, str) else "", _fit(algorithm, key)))
        except Exception:  # one invalid key must not make the others unusable
            continue
    if not keys:
        raise ValueError(f"it has no key for {algorithm}")
    if len(keys) == 1 and not keys[0].kid:
        keys = [Key(None, keys[0].key)]
    return Keys(keys)


def _is_for(named: Any, algorithm: str) -> bool:
    """Whether the `alg` of a JWK is the algorithm. RFC 9864 has names for the curves of EdDSA."""
    return named == algorithm or (algorithm == "EdDSA" and named in ("Ed25519", "Ed448"))


def _fit(algorithm: str, key: Any) -> Any:
    """The key itself, if its kind and size fit the algorithm. Raises ValueError otherwise."""
    kind = algorithm[:2]
    if kind == "HS":
        if len(key) < HASH[algorithm]:
            raise ValueError(f"{algorithm} takes a secret of at least {HASH[algorithm]} bytes")
    elif kind in ("RS", "PS"):
        if not isinstance(key, RSAPublicKey):
            raise ValueError(f"{algorithm} takes an RSA key")
        if key.key_size < MIN_RSA:
            raise ValueError(f"{algorithm} takes an RSA key of at least {MIN_RSA} bits")
    elif kind == "ES":
        if not isinstance(key, EllipticCurvePublicKey) or key.curve.name != CURVES[algorithm]:
            raise ValueError(f"{algorithm} takes a key of the curve {CURVES[algorithm]}")
    elif not isinstance(key, Ed25519PublicKey | Ed448PublicKey):
        raise ValueError(f"{algorithm} takes an Ed25519 or Ed448 key")
    return key
