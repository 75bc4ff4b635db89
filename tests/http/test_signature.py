from __future__ import annotations

import base64

import pytest

from fws.http.signature import secret_key, signed

# The test vector that the specification's own libraries use.
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
ID = "msg_p5jXN8AQM9LWM0D4loKWxJek"
STAMP = 1614265330
BODY = b'{"test": 2432232314}'
SIGNATURE = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_the_signature_is_that_of_the_standard() -> None:
    assert signed(secret_key(SECRET), ID, STAMP + 0.9, BODY) == {
        "webhook-id": ID,
        "webhook-timestamp": str(STAMP),
        "webhook-signature": SIGNATURE,
    }


def test_id_time_and_body_are_signed() -> None:
    key = secret_key(SECRET)
    others = [signed(key, "other", STAMP, BODY), signed(key, ID, STAMP + 1, BODY), signed(key, ID, STAMP, BODY + b" ")]
    assert SIGNATURE not in [headers["webhook-signature"] for headers in others]


def test_an_id_cannot_take_the_place_of_the_time() -> None:
    for id in ("a.1", "a\r\nx: y", "", "ä"):
        with pytest.raises(ValueError, match="id"):
            signed(secret_key(SECRET), id, STAMP, BODY)


@pytest.mark.parametrize(
    "secret",
    [
        "",
        "s3cret",
        SECRET.removeprefix("whsec_"),
        "whsec_",
        "whsec_***",
        f"whsec_{base64.b64encode(bytes(23)).decode()}",
        f"whsec_{base64.b64encode(bytes(65)).decode()}",
    ],
)
def test_a_secret_that_is_none_is_refused_without_being_quoted(secret: str) -> None:
    with pytest.raises(ValueError, match="whsec_ and the Base64 of 24 to 64") as error:
        secret_key(secret)
    assert not secret.removeprefix("whsec_") or secret.removeprefix("whsec_") not in str(error.value)
