"""Names what goes wrong on the network as faults. The errors' own texts are not used: they may quote secrets."""

from __future__ import annotations

import os

from cheapfirst.messages import Fault
from cheapfirst.upstream import faults
from cheapfirst.upstream.faults import Failed


class Broken(Exception):
    """The connection ended where it should not have."""


class Garbled(Exception):
    """What came is not HTTP."""


class Late(Exception):
    """A time limit of the call ran out; `limit` is its fault."""

    def __init__(self, limit: str) -> None:
        self.limit = limit
        super().__init__(limit)


def connecting(error: Exception, host: str) -> Fault:
    """The fault of a connection that could not be made."""
    import socket
    import ssl

    if isinstance(error, TimeoutError) and error.errno is None:
        return faults.make("connect_timeout", note=host)
    if isinstance(error, ssl.SSLError | ssl.CertificateError):
        return faults.make("tls", note=host)
    if isinstance(error, ValueError):
        return faults.make("unsendable")
    reason = error.strerror if isinstance(error, socket.gaierror) else _reason(error)
    return faults.make("connect", note=f"{host}: {reason}" if reason else host)


def failed(error: BaseException, host: str, *, answering: bool) -> BaseException:
    """What to raise for an error of an open connection: a Failed with its fault, or a cancellation as it is.

    `answering` says whether the answer's headers have come.
    """
    if isinstance(error, Late):
        return Failed(faults.make(error.limit))
    if isinstance(error, Garbled):
        return Failed(faults.make("malformed", note=host))
    if isinstance(error, Exception):
        return Failed(faults.make("cut_stream" if answering else "no_response", note=host))
    return error


def _reason(error: Exception) -> str | None:
    number = error.errno if isinstance(error, OSError) else None
    return os.strerror(number) if number is not None and number > 0 else None
