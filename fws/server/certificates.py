"""TLS: the server's certificate and its reload, the handshake, and the identity in a client's certificate."""

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
# For TLS 1.2, only ciphers with forward secrecy and authenticated encryption. All ciphers of TLS 1.3 have both.
_CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"


class TlsError(FwsError):
    """The certificate, its key or the clients' authority cannot be used."""


class CertificateStore:
    """Keeps the TLS context for new handshakes, and replaces it when the files have changed.

    Args:
        settings: `[server.tls]`.
        folder: the folder that the paths are relative to.

    Raises:
        TlsError: names the file that is invalid, and the reason.
    """

    def __init__(self, settings: Tls, folder: Path) -> None:
        self._use(settings, folder)

    def change(self, settings: Tls, folder: Path) -> None:
        """Use other settings for new handshakes. If their files are invalid, that is logged and the old ones stay."""
        if settings != self._settings:
            try:
                self._use(settings, folder)
            except TlsError as error:
                logger.error("the old certificate stays, because the new one is invalid: %s", error)

    def _use(self, settings: Tls, folder: Path) -> None:
        self._context = make_context(settings, folder)
        self._settings = settings
        self._paths = [folder / name for name in (settings.cert, settings.key, settings.client_ca) if name]
        self._folder = folder
        self._loaded = self._seen = self._stamps()

    def look(self) -> None:
        """Called once a second: load the files if they have changed.

        A certificate and its key are written one after the other. They are loaded when two looks have seen the same.
        """
        stamps = self._stamps()
        if stamps == self._seen and stamps != self._loaded:
            self.reload()
        self._seen = stamps

    def reload(self) -> None:
        """Load the files for new handshakes. If they are invalid, that is logged and the old ones stay in use."""
        self._loaded = self._stamps()
        try:
            self._context = make_context(self._settings, self._folder)
        except TlsError as error:
            logger.error("the old certificate stays, because the new one is invalid: %s", error)
        else:
            logger.info("the certificate and key have been reloaded")

    def handshake(self, sock: Any, scheduler: Scheduler) -> Any:
        """Do the handshake on an accepted socket. Blocks; the caller limits the time.

        Args:
            scheduler: makes handshakes wait for their turn if there are many.

        Returns:
            The socket for the data inside TLS.

        Raises:
            OSError: the handshake failed.
        """
        inner = self._context.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
        try:
            socket.wait_read(inner.fileno())
            # A signature takes one millisecond, and many clients may need one at the same time.
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
    """The TLS context for a server. Raises TlsError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = _VERSIONS[settings.min_version]
    context.set_ciphers(_CIPHERS)
    context.set_alpn_protocols(["http/1.1"])
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION | ssl.OP_CIPHER_SERVER_PREFERENCE
    cert, key = folder / settings.cert, folder / (settings.key or settings.cert)
    for path in (cert, key):
        _readable(path)
    try:
        # Without `password`, OpenSSL would ask for one at the terminal.
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
    """The identity in the client's certificate; None without a certificate.

    `user` is the common name, or the first alternative name if there is none. `subject` and `serial` are those of the
    certificate, and `names` are its alternative names.
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
    """Why a handshake failed, in OpenSSL's words."""
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
