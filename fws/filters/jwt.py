"""`jwt`: authenticate clients by a signed token."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast, get_args

import jwt
from msgspec import Meta

from fws import Client, Duration, Help, Reject, Secret, StorageError
from fws.auth.claims import Rules, Trusted, verify
from fws.auth.credential import Denied, fingerprint, fresh, unavailable
from fws.auth.keys import (
    HASH,
    MAX_SET,
    PATIENCE,
    Algorithm,
    FileKeys,
    Key,
    Keyring,
    Keys,
    UrlKeys,
    key_of,
    keys_of_set,
    signing_key_of,
)
from fws.auth.login import IssuedToken, Login, TokenRequest, count_refused
from fws.auth.used import check_unused, use
from fws.base.errors import Refusal
from fws.http.error import HttpError
from fws.http.service import Service
from fws.http.tls import CA, trust
from fws.http.url import PRIVATE_HOSTS, Url
from fws.pipeline.component import Setting
from fws.pipeline.storage import MAX_EXPIRE

if TYPE_CHECKING:
    from fws.base.timers import Timer

# Seconds for which a used token is remembered after its end, because the clocks of nodes differ.
CLOCKS = 60.0

# Is told how it was decided about a new token.
Done = Callable[[Refusal | None], None]


class Jwt(Login):
    """Admit clients with a valid JSON Web Token (RFC 7519), and end the connection when it expires.

    On `connect`. Only the configured algorithm is accepted, whatever the token says. The key is a secret (HS) or a
    public key in PEM, given in the option or as a file, or a JWK Set, given as a file or a URL. Files are read again
    when they change. A URL is fetched again every 5 minutes, and when a token names an unknown key.

    The claims `exp`, `nbf`, `iat`, `aud` and `iss` are checked. A token with `aud` is refused if no audience is
    configured. The claims become the client's identity. The claim that the option `user` names, a text or an integer,
    becomes `{identity.user}`; without it there is no user.

    When the token expires, the connection ends with 4401. Before that, the client gets the message `{"type":
    "token_expires", "seconds": 30}`, and can send a new token as the message `{"token": TOKEN}`, which no other filter
    gets. The new token must be of the same user, and must meet the conditions of `require` and of the option `allow` of
    `join` on `connect`.

    On `subscribe`, the token is one for the channel, which the client gives with its request. Its claim `channel` must
    name the channel, and its user, if it names one, must be the client's. When it expires, the subscription ends, and
    the client is told `{"type": "unsubscribed", "channel": "tea", "reason": "the token has expired"}`.

    With `once`, a token is accepted a single time on all nodes together, also if two clients send it in the same
    instant. It is known by its `iss` and `jti`, or without a `jti` by its fingerprint, and remembered in the storage
    until a minute after it expires. So a client that connects again needs a new token. A new token on the live
    connection is used up as well, but to send the present one again changes nothing. A token counts as used even if a
    later filter refuses its client or the connection breaks, so put the filters that may refuse first. Without Redis,
    the process remembers used tokens until it ends.

    A client without a valid token is refused with 401, or after the 101 with the close code 4401. It is refused with
    503 as long as no keys have been fetched from the URL, and with `once` while the storage is away.

    Example:
        connect = ["jwt HS256 ${JWT_KEY} audience=chat", "join user:{identity.user}"]
    """

    algorithm: Annotated[Algorithm, Help("The algorithm that tokens must use.")]
    key: Annotated[str, Help("The secret, or the public key in PEM."), Secret()] = ""
    key_file: Annotated[str, Help("File of the key, relative to the TOML file's folder.")] = ""
    jwks: Annotated[str, Help("JWK Set: a file, relative to the TOML file's folder, or an https URL.")] = ""
    also: Annotated[
        list[str],
        Help(
            "Further keys, each with its algorithm, while a secret is rotated or another algorithm is introduced: "
            "HS256:SECRET, RS256:file:FILE or ES256:jwks:FILE-OR-URL."
        ),
        Secret(),
    ] = []
    audience: Annotated[list[str], Help("Audiences; the token's `aud` must contain one of these.")] = []
    issuer: Annotated[
        list[str], Help("Issuers; the token's `iss` must be one of these. The default accepts every issuer.")
    ] = []
    required: Annotated[tuple[str, ...], Help("Claims that the token must have.")] = ("exp",)
    user: Annotated[str, Help("Claim that names the user.")] = "sub"
    leeway: Annotated[Duration, Meta(ge=0, le=300), Help("Tolerated difference between clocks, at most 5 minutes.")] = (
        0.0
    )
    warn: Annotated[
        Duration, Meta(ge=0), Help("Time before the expiry at which the client gets the warning; 0s for no warning.")
    ] = 30.0
    ca: Annotated[str, Help(CA)] = ""
    once: Annotated[bool, Help("Whether each token is accepted a single time.")] = False

    @property
    def waits(self) -> bool:  # type: ignore[override]
        """Whether keys may have to be fetched, or the storage must be asked."""
        return self.once or self._fetches

    @property
    def _fetches(self) -> bool:
        return "://" in self.jwks or any("://" in one for one in self.also)

    def prepare(self, setting: Setting) -> None:
        given = [name for name in ("key", "key_file", "jwks") if getattr(self, name)]
        if len(given) != 1:
            raise ValueError("give one of key, key_file and jwks" + (f", not {' and '.join(given)}" if given else ""))
        if self.once and "exp" not in self.required:
            raise ValueError("once needs the claim exp, until which used tokens are remembered: add it to required")
        self._secret = b""
        self._rules = Rules(self.audience, self.issuer, self.required, self.leeway)
        try:
            if self.ca and not self._fetches:
                raise ValueError("ca is for keys from a URL")
            self._keys = self._keyring(self.algorithm, self.key, self.key_file, self.jwks, setting.folder, own=True)
        except OSError as error:
            raise ValueError(f"{given[0]}: {error.strerror}") from None
        except ValueError as error:
            raise ValueError(f"{given[0]}: {error}") from None
        try:
            further = [self._further(text, setting.folder) for text in self.also]
        except ValueError as error:
            raise ValueError(f"also: {error}") from None
        self._trusted = [Trusted(self.algorithm, self._keys), *further]

    def _keyring(
        self, algorithm: Algorithm, key: str, key_file: str, jwks: str, folder: Path, *, own: bool = False
    ) -> Keyring:
        if key:
            # A variable often has a PEM in one line, with its line ends written as \\n.
            text = key.replace("\\n", "\n") if key.startswith("-----BEGIN") else key
            return self._one(algorithm, text.encode("utf-8", "surrogateescape"), own)
        if key_file:
            return FileKeys(folder / key_file, lambda data: self._one(algorithm, data.rstrip(b"\r\n"), own), self.clock)
        if "://" not in jwks:
            return FileKeys(folder / jwks, lambda data: keys_of_set(algorithm, data), self.clock)
        url = Url.parse(jwks)
        if not url.is_private and not url.is_inside:
            raise ValueError(
                "over plain HTTP anybody on the network path could replace the keys: write https://, "
                f"or name a host in a private network ({PRIVATE_HOSTS})"
            )
        trusted = trust(url, folder / self.ca if self.ca else None)
        service = Service(url, timeout=PATIENCE, limit=MAX_SET, trusted=trusted)
        return UrlKeys(url.host, lambda: self._fetch(algorithm, service), self.clock)

    def _further(self, text: str, folder: Path) -> Trusted:
        """The keys of one item of `also`. Errors do not quote the item, because it may be a secret."""
        name, _, rest = text.partition(":")
        if name not in get_args(Algorithm) or not rest:
            raise ValueError("an item begins with its algorithm, such as HS256:SECRET or RS256:file:FILE")
        algorithm = cast(Algorithm, name)
        kind, _, place = rest.partition(":")
        file, jwks = (place if kind == "file" else ""), (place if kind == "jwks" else "")
        key = "" if file or jwks else rest
        try:
            return Trusted(algorithm, self._keyring(algorithm, key, file, jwks, folder))
        except OSError as error:
            raise ValueError(str(error.strerror)) from None

    def _one(self, algorithm: Algorithm, data: bytes, own: bool) -> Keys:
        if own:
            self._secret = data  # `fws token make` signs with the first key
        return Keys([Key(None, key_of(algorithm, data))])

    def _fetch(self, algorithm: Algorithm, service: Service) -> Keys:
        try:
            answer = service.ask("GET")
        finally:
            service.close()  # the next fetch is minutes away
        if answer.status != 200:
            raise HttpError(f"status {answer.status}")
        return keys_of_set(algorithm, answer.body)

    def start(self) -> None:
        """Fetch the keys before the first client connects."""
        for one in self._trusted:
            if isinstance(one.keys, UrlKeys):
                one.keys.refresh()

    def verified(self, token: str) -> dict[str, Any]:
        """Return the claims of a token that is valid now. Raises Denied."""
        return verify(token, self._trusted, self._rules, self.wall)

    def check(self, token: str) -> dict[str, Any]:
        claims = self.verified(token)
        if self.once:
            check_unused(self.storage, _name(token, claims))
        return self.identity_of(claims)

    def _use(self, token: str, claims: dict[str, Any]) -> None:
        """Use the token up if it is accepted a single time. Raises Denied if it was used before."""
        if self.once:
            left = claims["exp"] + self.leeway + CLOCKS - self.wall()
            use(self.storage, _name(token, claims), min(left, MAX_EXPIRE))

    def make(self, request: TokenRequest) -> IssuedToken:
        if not request.key and self.algorithm not in HASH:
            raise ValueError("signing requires the private key: give its file with --key-file")
        if not request.key and not self._secret:
            raise ValueError("the keys of a JWK Set cannot sign: give the file of a private key with --key-file")
        key = signing_key_of(self.algorithm, request.key or self._secret)
        now = int(self.wall())
        claims: dict[str, Any] = {"iat": now, "exp": now + int(request.lifetime), "jti": secrets.token_urlsafe(9)}
        if request.user:
            claims[self.user] = request.user
        if self.audience:
            claims["aud"] = self.audience[0]
        if self.issuer:
            claims["iss"] = self.issuer[0]
        claims |= request.claims
        return IssuedToken(jwt.encode(claims, key, self.algorithm, {"kid": request.kid} if request.kid else None))

    def admit(self, client: Client, token: str) -> None:
        claims = self.verified(token)
        self._use(token, claims)
        state: dict[Any, Any] = client.state
        session = state[self] = _Session(client)
        self._be(client, session, token, claims)
        if client.protocol == "raw":
            client.divert(self._renew)
        client.defer(session.cancel)

    def _be(self, client: Client, session: _Session, token: str, claims: dict[str, Any]) -> None:
        """Give the client the identity in the claims, unless another filter has changed its identity since.

        Raises:
            Denied: in the client's protocol, the token is for something else.
        """
        end = client.grant(claims, self.warn, self.leeway, partial(self._renew_with, client, session))
        identity, jti = self.identity_of(claims), claims.get("jti")
        credential = jti if isinstance(jti, str) and jti else _fingerprint(token)
        if client.identity is session.identity:
            client.identity = identity
        if client.credential == session.credential:
            client.credential = credential
        session.identity, session.credential = identity, credential
        session.name = _name(token, claims) if self.once else ""
        if end is None:
            session.cancel()
        else:
            self._set(client, session, end, warn=self.warn > 0)

    def identity_of(self, claims: dict[str, Any]) -> dict[str, Any]:
        """The identity in the claims. A claim named `user` does not set the user unless the option says so."""
        identity = {name: value for name, value in claims.items() if name != "user"}
        user = claims.get(self.user)
        if (isinstance(user, str) and user) or (type(user) is int and abs(user) < 2**53):
            identity["user"] = str(user)
        return identity

    def subscribe(self, client: Client, channel: str) -> None:
        try:
            token = client.call.token
            if not token:
                raise Denied("missing", "A token for this channel is needed.", 403)
            claims = self.verified(token)
            if claims.get("channel") != channel:
                raise Denied("other_channel", "The token is for another channel.", 403)
            user, own = self.identity_of(claims).get("user"), (client.identity or {}).get("user")
            if user is not None and user != own:
                raise Denied("other_user", "The token is for another user.", 403)
            self._use(token, claims)
            end = client.grant_channel(channel, claims, self.warn)
        except Denied as denied:
            count_refused(self, denied)
            status = 403 if denied.status == 401 else denied.status
            raise Reject(status, denied.text, cause=denied.cause) from None
        self._end_with(client, channel, end)

    def _end_with(self, client: Client, channel: str, end: float | None) -> None:
        """End a subscription when its token expires. A later subscription has a token of its own."""
        state: dict[Any, Any] = client.state
        alarms: dict[str, Timer] | None = state.get((self, "alarms"))
        if alarms is None:
            alarms = state[self, "alarms"] = {}
            client.defer(partial(_cancel, alarms))
        if (former := alarms.pop(channel, None)) is not None:
            former.cancel()
        if end is not None:
            left = end + self.leeway - self.wall()
            # In a greenlet, because the `unsubscribe` pipeline may block.
            alarms[channel] = self.timers.at(
                self.clock() + left, lambda: self.services.spawn(self._end_subscription, client, channel)
            )

    def _end_subscription(self, client: Client, channel: str) -> None:
        state: dict[Any, Any] = client.state
        state[self, "alarms"].pop(channel, None)
        client.withdraw(channel, "the token has expired", expired=True)

    # The expiry, and a new token before it.

    def _set(self, client: Client, session: _Session, end: float, *, warn: bool) -> None:
        session.cancel()
        left = end - self.wall() - (self.warn if warn else 0.0)
        session.alarm = self.timers.at(self.clock() + left, lambda: self._due(client, session, end, warn=warn))

    def _due(self, client: Client, session: _Session, end: float, *, warn: bool) -> None:
        left = end - self.wall()
        if client.closing:
            return
        if warn and left > 0:
            client.send({"type": "token_expires", "seconds": round(left)})
            self._set(client, session, end, warn=False)
        elif left > 0:  # the system's clock was set back
            self._set(client, session, end, warn=False)
        else:
            client.expire("the token has expired")

    def _renew(self, client: Client, message: Any) -> bool:
        token = fresh(message)
        if token is None:
            return False
        state: dict[Any, Any] = client.state

        def done(refusal: Refusal | None) -> None:
            if refusal is not None:
                client.refuse(refusal)

        self._renew_with(client, state[self], token, done)
        return True

    def _renew_with(self, client: Client, session: _Session, token: str, done: Done) -> None:
        """Verify a fresh token, and call `done` with the refusal, or None. Of several at once, one counts."""
        if not self.waits:
            self._judge(client, session, token, done)
        elif session.renewing:
            if client.protocol != "raw":
                done(Reject(429, "Another new token is being verified."))  # whoever asks waits for an answer
        else:
            # Its key may have to be fetched, and this greenlet may not be allowed to block.
            session.renewing = True
            self.services.spawn(self._judge, client, session, token, done)

    def _judge(self, client: Client, session: _Session, token: str, done: Done) -> None:
        refusal: Refusal | None = None
        try:
            claims = self.verified(token)
            if self.identity_of(claims).get("user") != (session.identity or {}).get("user"):
                raise Denied("other_user", "The new token is for another user.")
            if not session.name or _name(token, claims) != session.name:
                self._use(token, claims)
            if not client.closing:
                self._be(client, session, token, claims)
                client.renewed()
        except Denied as denied:
            count_refused(self, denied)
            refusal = Reject(denied.status, denied.text, cause=denied.cause)
        except Reject as rejected:
            refusal = rejected
        except StorageError as error:
            self.services.report("message", error, client.id)
            refusal = Reject(503, unavailable().text, cause="unavailable")
        except Exception as error:
            # Access fails closed, because it could not be decided whether the client may stay.
            self.services.report("message", error, client.id)
            refusal = Reject(500, "A filter failed.")
        finally:
            session.renewing = False
        done(refusal)


def _cancel(alarms: dict[str, Timer]) -> None:
    for alarm in alarms.values():
        alarm.cancel()


def _fingerprint(token: str) -> str:
    """Identifies a token, without its signature, which can be encoded in more than one way."""
    return fingerprint(token.rpartition(".")[0])


def _name(token: str, claims: dict[str, Any]) -> str:
    """Identifies a token that is accepted a single time, also if the same one is issued with another signature."""
    jti = claims.get("jti")
    if isinstance(jti, str) and jti:
        return fingerprint(repr((claims.get("iss"), jti)))
    return _fingerprint(token)


class _Session:
    """What a token has set on a client.

    Attributes:
        identity, credential: those of the token; at first those that the client had before.
        name: identifies the token where each is accepted a single time; else empty.
        alarm: warns or disconnects the client.
        renewing: whether a new token is being verified.
    """

    __slots__ = ("alarm", "credential", "identity", "name", "renewing")

    def __init__(self, client: Client) -> None:
        self.identity = client.identity
        self.credential = client.credential
        self.name = ""
        self.alarm: Timer | None = None
        self.renewing = False

    def cancel(self) -> None:
        if self.alarm is not None:
            self.alarm.cancel()
            self.alarm = None
