"""The claims of JSON Web Tokens, and known attacks."""

from __future__ import annotations

import json
from typing import Any, get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fws.auth.claims import Rules, Trusted, verify
from fws.auth.credential import Denied
from fws.auth.keys import Algorithm, Key, Keys, key_of, keys_of_set
from tests.auth.pairs import NOW, SECRET, encoded, forged, jwk, mac, pem, private, public, signed, small_rsa

ALGORITHMS = get_args(Algorithm)
RULES = Rules(audience=["chat"], issuer=["https://id.example"])
GOOD: dict[str, Any] = {"aud": "chat", "iss": "https://id.example"}


def keys(algorithm: str = "HS256", number: int = 0) -> Keys:
    return Keys([Key(None, key_of(algorithm, public(algorithm, number).encode()))])


def claims_of(token: str, algorithm: str = "HS256", rules: Rules = RULES, now: float = NOW, **other: Any) -> Any:
    return verify(token, [Trusted(algorithm, other.get("keys", keys(algorithm)))], rules, lambda: now)


def cause_of(token: str, algorithm: str = "HS256", **other: Any) -> str:
    with pytest.raises(Denied) as denied:
        claims_of(token, algorithm, **other)
    assert denied.value.status == 401
    return denied.value.cause


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_good_token_gives_its_claims(algorithm: str) -> None:
    token = signed(algorithm, roles=["editor"], **GOOD)
    assert claims_of(token, algorithm)["roles"] == ["editor"]


@pytest.mark.parametrize("algorithm", [one for one in ALGORITHMS if not one.startswith("HS")])
def test_another_pair_of_the_same_kind_signs_for_nobody(algorithm: str) -> None:
    assert cause_of(signed(algorithm, 1, **GOOD), algorithm, keys=keys(algorithm, 0)) == "signature"


CLAIMS: list[tuple[dict[str, Any], str]] = [
    ({"aud": "other"}, "audience"),
    ({"aud": ["other", "chat2"]}, "audience"),
    ({"aud": None}, "audience"),
    ({"aud": {"chat": 1}}, "audience"),
    ({"aud": [["chat"]]}, "audience"),
    ({"iss": "https://id.example.evil"}, "issuer"),
    ({"iss": None}, "issuer"),
    ({"exp": NOW}, "expired"),
    ({"exp": NOW - 86400}, "expired"),
    ({"exp": None}, "claims"),
    ({"exp": 1e300}, "claims"),
    ({"exp": 10**30}, "claims"),
    ({"nbf": NOW + 1}, "not_yet"),
    ({"iat": NOW + 1}, "not_yet"),
]


@pytest.mark.parametrize(("claims", "cause"), CLAIMS, ids=lambda value: str(value)[:40])
def test_claims_that_do_not_fit(claims: dict[str, Any], cause: str) -> None:
    assert cause_of(signed(**(GOOD | claims))) == cause


@pytest.mark.parametrize("value", ["never", str(NOW + 9), True, [NOW + 9], {"at": NOW}])
@pytest.mark.parametrize("name", ["exp", "nbf", "iat"])
def test_a_time_is_a_number(name: str, value: Any) -> None:
    claims = {"sub": "ann", "exp": NOW + 9} | GOOD | {name: value}
    assert cause_of(mac({"alg": "HS256"}, SECRET, claims)) == "claims"


def test_an_issuer_is_a_text() -> None:
    assert cause_of(mac({"alg": "HS256"}, SECRET, {"exp": NOW + 9, "iss": ["x"]}), rules=Rules()) == "issuer"


def test_leeway_is_for_clocks_that_differ() -> None:
    rules = Rules(leeway=10)
    assert claims_of(signed(exp=NOW - 9, nbf=NOW + 10, iat=NOW + 10), rules=rules)
    assert cause_of(signed(exp=NOW - 10), rules=rules) == "expired"
    assert cause_of(signed(nbf=NOW + 11), rules=rules) == "not_yet"


def test_a_token_for_somebody_named_is_for_nobody_else() -> None:
    """RFC 7519 4.1.3. This also holds if no audience is configured."""
    assert cause_of(signed(aud="chat"), rules=Rules()) == "audience"
    assert claims_of(signed(), rules=Rules())["sub"] == "ann"


OWN = {"kty": "oct", "k": encoded(b"x" * 32)}
ATTACKS = {
    "no algorithm (CVE-2015-2951)": (forged({"alg": "none"}, signature=""), "RS256", "malformed"),
    "no algorithm, some signature": (forged({"alg": "none"}), "RS256", "algorithm"),
    "in other letters": (forged({"alg": "nOnE"}), "HS256", "algorithm"),
    "no algorithm named": (forged({}), "HS256", "algorithm"),
    "a list of them": (forged({"alg": ["HS256"]}), "HS256", "algorithm"),
    "the public key as a secret (CVE-2016-10555)": (mac({"alg": "HS256"}, public("RS256")), "RS256", "algorithm"),
    "the same, with the right name": (mac({"alg": "RS256"}, public("RS256")), "RS256", "signature"),
    "a stronger one": (signed("HS512", **GOOD), "HS256", "algorithm"),
    "PS for RS": (signed("PS256", **GOOD), "RS256", "algorithm"),
    "no signature": (signed(**GOOD).rpartition(".")[0] + ".", "HS256", "malformed"),
    "half a signature": (signed(**GOOD)[:-10], "HS256", "signature"),
    "other claims": (".".join([signed(**GOOD).split(".")[0], encoded({"sub": "root"}), "AAAA"]), "HS256", "signature"),
    "critical": (signed(headers={"crit": ["exp"], "exp": 1}, **GOOD), "HS256", "critical"),
    "critical, empty": (mac({"alg": "HS256", "crit": []}, SECRET), "HS256", "critical"),
    "payload not encoded (RFC 7797)": (mac({"alg": "HS256", "b64": False}, SECRET), "HS256", "critical"),
    "compressed": (mac({"alg": "HS256", "zip": "DEF"}, SECRET), "HS256", "critical"),
    "its own key": (mac({"alg": "HS256", "jwk": OWN}, "x" * 32), "HS256", "signature"),
    "a key elsewhere": (mac({"alg": "HS256", "jku": "https://evil.example/"}, "x" * 32), "HS256", "signature"),
    "for something else": (signed(headers={"typ": "logout+jwt"}, **GOOD), "HS256", "malformed"),
    "a kid that is no text": (mac({"alg": "HS256", "kid": 1}, SECRET), "HS256", "malformed"),
    "a kid without end": (mac({"alg": "HS256", "kid": "k" * 201}, SECRET), "HS256", "malformed"),
    "claims that are a list": (mac({"alg": "HS256"}, SECRET, ["exp"]), "HS256", "malformed"),
    "claims that are no JSON": (mac({"alg": "HS256"}, SECRET, b"\xff"), "HS256", "malformed"),
    "deep claims": (mac({"alg": "HS256"}, SECRET, b"[" * 5000), "HS256", "malformed"),
    "a deep head": (forged(b"[" * 5000), "HS256", "malformed"),
    "five parts, encrypted": (forged({"alg": "dir", "enc": "A256GCM"}) + ".AA.AA", "HS256", "malformed"),
    "padded": (signed(**GOOD) + "=", "HS256", "malformed"),
    "with a line end": (signed(**GOOD) + "\n", "HS256", "malformed"),
    "huge": (signed(junk="x" * 9000, **GOOD), "HS256", "too_long"),
    "empty": ("", "HS256", "malformed"),
}  # fmt: skip


@pytest.mark.parametrize("name", ATTACKS)
def test_attack(name: str) -> None:
    token, algorithm, cause = ATTACKS[name]
    assert cause_of(token, algorithm, rules=Rules()) == cause


@pytest.mark.parametrize("kid", ["../../etc/passwd", "' or 1=1 --", "b\x00", "", "A"])
def test_a_kid_is_compared_and_nothing_else(kid: str) -> None:
    two = keys_of_set("HS256", json.dumps({"keys": [jwk("HS256", kid="a"), jwk("HS256", kid="b")]}).encode())
    assert cause_of(signed(headers={"kid": kid}, **GOOD), keys=two) == "key"
    assert claims_of(signed(headers={"kid": "b"}, **GOOD), keys=two)
    assert claims_of(signed(**GOOD), keys=two), "a token that names no key may be signed with any (RFC 7515 4.1.4)"


# Keys.


@pytest.mark.parametrize(
    ("algorithm", "key", "reason"),
    [
        ("HS256", public("RS256"), "takes a secret"),
        ("HS256", "  " + public("ES256"), "takes a secret"),
        ("HS512", "ssh-rsa " + "A" * 64, "takes a secret"),
        ("HS256", "short", "at least 32 bytes"),
        ("HS512", "k" * 63, "at least 64 bytes"),
        ("HS256", "", "empty"),
        ("RS256", SECRET, "public key in PEM"),
        ("RS256", public("ES256"), "RSA key"),
        ("RS256", small_rsa(), "at least 2048 bits"),
        ("ES256", public("ES384"), "secp256r1"),
        ("EdDSA", public("RS256"), "Ed25519"),
        ("RS256", "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----", "not a valid key"),
    ],
)
def test_keys_that_do_not_fit_the_algorithm_are_refused(algorithm: str, key: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason) as error:
        key_of(algorithm, key.encode())
    assert not key or key.strip() not in str(error.value)


def test_a_private_key_verifies_as_its_public_one() -> None:
    found = Keys([Key(None, key_of("ES256", pem(private("ES256")).encode()))])
    assert claims_of(signed("ES256", **GOOD), "ES256", keys=found)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_set_gives_the_keys_of_the_algorithm_and_no_others(algorithm: str) -> None:
    others = [jwk(other, kid="good") for other in ALGORITHMS if other[:2] != algorithm[:2]]
    unfit = [jwk(algorithm, 1, kid="enc", use="enc"), {"kty": "RSA", "n": "!"}, {"kty": "oct", "k": "AA"}, "text"]
    mine = jwk(algorithm, kid="good", alg=algorithm)
    found = keys_of_set(algorithm, json.dumps({"keys": [*others, *unfit, mine]}).encode())
    assert claims_of(signed(algorithm, headers={"kid": "good"}, **GOOD), algorithm, keys=found)
    assert cause_of(signed(algorithm, headers={"kid": "enc"}, **GOOD), algorithm, keys=found) == "key"


@pytest.mark.parametrize(
    "data",
    [b"", b"[]", b"{}", b'{"keys": {}}', b'{"keys": [1]}', b"[" * 10000,
     json.dumps({"keys": [jwk("RS256")] * 101}).encode()],
)  # fmt: skip
def test_an_invalid_key_set_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"JWK Set|has no key"):
        keys_of_set("RS256", data)


# Any bytes.

HEADS = st.fixed_dictionaries(
    {}, optional={"alg": st.sampled_from([*ALGORITHMS, "none", 1, None]), "kid": st.text(max_size=5) | st.integers(),
                  "typ": st.sampled_from(["JWT", "at+jwt", 5, []]), "crit": st.just(["b64"])}
)  # fmt: skip
NAMES = st.sampled_from(["exp", "nbf", "aud", "iss", "sub"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=5),
    max_leaves=8,
)


@given(token=st.text(max_size=60) | st.from_regex(r"\A[A-Za-z0-9_-]{0,20}\.[A-Za-z0-9_-]{0,20}\.[A-Za-z0-9_-]{0,9}\Z"))
def test_any_text_is_denied_and_raises_nothing_else(token: str) -> None:
    with pytest.raises(Denied):
        claims_of(token)


@given(head=HEADS, claims=JSON)
def test_any_head_and_claims_under_a_right_signature(head: dict[str, Any], claims: Any) -> None:
    try:
        found = claims_of(mac(head, SECRET, claims), rules=Rules())
    except Denied:
        return
    assert head["alg"] == "HS256"
    assert found["exp"] > NOW


@given(data=st.binary(max_size=200) | JSON.map(lambda value: msgspec.json.encode({"keys": [value]})))
def test_any_bytes_as_a_set(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"JWK Set|has no key"):
        keys_of_set("RS256", data)
