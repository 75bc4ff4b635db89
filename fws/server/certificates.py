"""TLS at the door: certificate and key with their reload, the handshake, and who a client's certificate says it is."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gevent import socket, ssl

from fws.base.errors import FwsError
from fws.base.files import Stamp, stamp
from fws.config import Tls
from fws.runtime.scheduler import Scheduler, overdue, queue_up

logger = logging.getLogger("fws")

_VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}
# Of TLS 1.2: forward secrecy and authenticated encryption only. Those of 1.3 are all so.
_CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"


class TlsError(FwsError):
    """The certificate, its key or the clients' authority cannot be used."""


class CertificateStore:
    """Keeps the context of new handshakes, and makes another when the files have changed.

    Args:
        settings: `[server.tls]`.
        folder: what the paths in it are relative to.

    Raises:
        TlsError: which file is at fault, and why.
    """

    def __init__(self, settings: Tls, folder: Path) -> None:
        self._settings = settings
        self._paths = [folder / name for name in (settings.cert, settings.key, settings.client_ca) if name]
        self._folder = folder
        self._loaded = self._seen = self._stamps()
        self._context = make_context(settings, folder)

    def look(self) -> None:
        """Called once a second: load the files if they have changed.

        A certificate and its key are written one after the other. They are loaded when two looks have seen the same.
        """
        stamps = self._stamps()
        if stamps == self._seen and stamps != self._loaded:
            self.reload()
        self._seen = stamps

    def reload(self) -> None:
        """Load the files, for new handshakes. Those at fault are told in the log, and the old ones stay."""
        self._loaded = self._stamps()
        try:
            self._context = make_context(self._settings, self._folder)
        except TlsError as error:
            logger.error("the old certificate stays, because the new one is invalid: %s", error)
        else:
            logger.info("the certificate and key have been reloaded")

    def handshake(self, sock: Any, scheduler: Scheduler) -> Any:
        """Do the handshake on an accepted socket. Waits for the peer; the caller limits how long.

        Args:
            scheduler: gives turns where many want one.

        Returns:
            The socket for what is inside TLS.

        Raises:
            OSError: there is no handshake with this peer.
        """
        inner = self._context.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
        try:
            socket.wait_read(inner.fileno())
            # A signature takes a millisecond, and many may ask for one at the same time.
            if scheduler.crowded or overdue():
                queue_up(scheduler.later)
            inner.do_handshake()
        except BaseException:
            inner.close()
            raise
        return inner

    def _stamps(self) -> list[Stamp]:
        return list(map(stamp, self._paths))


def make_context(settings: Tls, folder: Path) -> Any:
    """The context of a server's handshakes. Raises TlsError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = _VERSIONS[settings.min_version]
    context.set_ciphers(_CIPHERS)
    context.set_alpn_protocols(["http/1.1"])
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION | ssl.OP_CIPHER_SERVER_PREFERENCE
    cert, key = folder / settings.cert, folder / (settings.key or settings.cert)
    for path in (cert, key):
        _readable(path)
    try:
        # OpenSSL would ask for its password at the terminal.
        context.load_cert_chain(cert, key, password=_refuse_password)
    except (OSError, ValueError) as error:
        raise TlsError(f"{cert} and {key}: {_why(error)}") from None
    if settings.client_ca:
        authority = folder / settings.client_ca
        _readable(authority)
        try:
            context.load_verify_locations(authority)
        except (OSError, ValueError) as error:
            raise TlsError(f"{authority}: {_why(error)}") from None
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def identity_of(inner: Any) -> dict[str, Any] | None:
    """Who the client's certificate says it is, None without one.

    `user` is the common name, or else the first alternative name; `subject` and `serial` are as the certificate has
    them, `names` its alternative names.
    """
    certificate = inner.getpeercert()
    if not certificate:
        return None
    subject = dict(pair for part in certificate.get("subject", ()) for pair in part)
    names: Sequence[str] = [name for _, name in certificate.get("subjectAltName", ())]
    return {
        "user": subject.get("commonName") or next(iter(names), ""),
        "subject": subject,
        "names": list(names),
        "serial": certificate.get("serialNumber", ""),
    }


def reason_of(error: OSError) -> str:
    """Why a handshake failed, in OpenSSL's words without their ornaments."""
    return (getattr(error, "reason", None) or error.strerror or type(error).__name__).lower().replace("_", " ")


def _refuse_password() -> str:
    raise ValueError("the key is encrypted; fws needs one that is not")


def _readable(path: Path) -> None:
    try:
        path.open("rb").close()
    except OSError as error:
        raise TlsError(f"{path} cannot be read: {error.strerror}") from None


def _why(error: Exception) -> str:
    reason = getattr(error, "reason", None)
    if reason == "KEY_VALUES_MISMATCH":
        return "the key is not that of the certificate"
    if isinstance(error, ValueError):
        return str(error)
    if reason in ("NO_START_LINE", "PEM_LIB", None) or "PEM" in str(error):
        return "no certificate or no key in PEM form (-----BEGIN …)"
    return str(reason).lower().replace("_", " ")
