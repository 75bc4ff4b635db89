"""The error of a request to an HTTP service."""

from __future__ import annotations

from fws.base.errors import FwsError


class HttpError(FwsError):
    """The service was not asked, did not answer in time, or its answer is invalid. The message says why in a few words.

    Args:
        cause: one word for counters: `unavailable`; `invalid` (the service has answered, but the body cannot be used);
            `busy` (as many requests as permitted are under way); or `paused` (the service is not asked because it has
            failed several times). In the last two cases nothing was sent.
        status: of an answer whose body cannot be used; 0 without one.
    """

    def __init__(self, message: str, cause: str = "unavailable", status: int = 0) -> None:
        super().__init__(message)
        self.cause = cause
        self.status = status
