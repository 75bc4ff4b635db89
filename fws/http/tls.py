"""TLS to HTTP services: whom fws trusts, and how it identifies itself."""

from __future__ import annotations

import logging
import ssl
from pathlib import Path
from typing import Any, NoReturn

from gevent.ssl import SSLContext

from fws.base.files import Stamp, stamp
from fws.http.url import Url

logger = logging.getLogger("fws")

# The options `ca`, `cert` and `key`.
CA = (
    "For https: a file of the certificate authorities that are trusted, relative to the TOML file's folder. The "
    "default is the system's."
)
CERT = "For https: a file of the certificate, in PEM, with which fws identifies itself to the service."
KEY = "A file of the key of `cert`, if it is not in the same file."


class Trust(SSLContext):  # type: ignore[misc]
    """A TLS context of gevent, so that a handshake lets others run also where the standard library is not patched."""

    def wrap_socket(self, sock: Any, **options: Any) -> Any:
        """As `SSLContext.wrap_socket`. The socket is closed if the handshake fails, or a time limit ends it."""
        wrapped = super().wrap_socket(sock, do_handshake_on_connect=False, **options)
        try:
            wrapped.do_handshake()
        except BaseException:  # gevent closes it after an OSError, and its Timeout is none
            wrapped.close()
            raise
        return wrapped


class Tls:
    """How a service is verified, and how fws identifies itself to it. Files that have changed are read again.

    Raises:
        ValueError: a file cannot be used. The message begins with the option's name.
    """

    def __init__(self, ca: Path | None, cert: Path | None, key: Path | None) -> None:
        self._files = ca, cert, key
        self._stamps = self._look()
        self._context = _context(ca, cert, key)

    def context(self) -> Trust:
        """The context for a new connection. While a file that has changed cannot be used, the former ones count."""
        former, self._stamps = self._stamps, self._look()
        if self._stamps != former:
            try:
                self._context = _context(*self._files)
            except ValueError as error:
                logger.error("a certificate for a service has changed and cannot be used: %s", error)
        return self._context

    def _look(self) -> list[Stamp]:
        return [None if path is None else stamp(path) for path in self._files]


def trust(url: Url, ca: Path | None, cert: Path | None = None, key: Path | None = None) -> Tls | None:
    """The TLS of an https service; None for plain HTTP.

    Make it once, because reading the system's certificates takes 30 ms.

    Args:
        ca: a file of certificate authorities, instead of the system's.
        cert, key: files of the client's certificate, and of its key if that is another file.

    Raises:
        ValueError: a file cannot be used, or the URL is plain HTTP. The message begins with the option's name.
    """
    if key is not None and cert is None:
        raise ValueError("key: there is no certificate that it belongs to: give cert")
    if url.scheme == "https":
        return Tls(ca, cert, key)
    if ca is not None:
        raise ValueError("ca: plain HTTP has no certificate to check: write https://")
    if cert is not None:
        raise ValueError("cert: plain HTTP has no certificates: write https://")
    return None


def _context(ca: Path | None, cert: Path | None, key: Path | None) -> Trust:
    context = Trust(ssl.PROTOCOL_TLS_CLIENT)  # which verifies the certificate and its host
    try:
        if ca is None:
            context.load_default_certs()
        else:
            context.load_verify_locations(ca)
    except ssl.SSLError:  # its text names OpenSSL's source files
        raise ValueError("ca: the file has no certificates in PEM") from None
    except OSError as error:
        raise ValueError(f"ca: {error.strerror}") from None
    if cert is not None:
        _identify(context, cert, key)
    return context


def _identify(context: Trust, cert: Path, key: Path | None) -> None:
    for name, path in (("cert", cert), ("key", key)):
        try:
            if path is not None:
                path.open("rb").close()  # OpenSSL does not say which of the files it cannot read
        except OSError as error:
            raise ValueError(f"{name}: {error.strerror}") from None
    try:
        # Without `password`, OpenSSL would ask for one at the terminal.
        context.load_cert_chain(cert, key, password=_refuse_password)
    except ssl.SSLError:
        raise ValueError("cert: certificate and key in PEM are needed, and must belong together") from None
    except ValueError as error:
        raise ValueError(f"key: {error}") from None


def _refuse_password() -> NoReturn:
    raise ValueError("it is encrypted: fws cannot ask for its password")
