"""Reasons of failed dials as text, and whether waiting can help."""

from __future__ import annotations

import os
import re
import socket
import ssl

__all__ = ["DialError", "is_failed_dial", "is_permanent", "reason"]

_MAX_REASON = 300
_REPEATS_THE_ADDRESS = ("Connect call failed", "Error connecting to", "Error in connect", "[Errno")
"""Prefixes that asyncio and trio add to the text of an error with an error number."""
_SOURCE_OF_OPENSSL = re.compile(r"\s*\(_ssl\.c:\d+\)$")
_WITHOUT_TEXT = {
    "BrokenResourceError": "connection closed by the peer",
    "CancelledError": "cancelled",
    "ClosedResourceError": "connection closed",
    "EndOfStream": "connection closed by the peer",
    "TimeoutError": "timed out",
    "TooSlowError": "timed out",
}
"""Texts for errors without one, by class name: trio and anyio are not imported here."""
_OF_TRIO = ("BrokenResourceError", "ClosedResourceError", "TooSlowError")
_TRANSIENT_TLS = (
    ssl.SSLEOFError,
    ssl.SSLZeroReturnError,
    ssl.SSLSyscallError,
    ssl.SSLWantReadError,
    ssl.SSLWantWriteError,
)
_TRANSIENT_TLS_REASONS = frozenset(
    {
        "DECRYPTION_FAILED_OR_BAD_RECORD_MAC",
        "SSLV3_ALERT_BAD_RECORD_MAC",
        "TLSV1_ALERT_INTERNAL_ERROR",
        "TLSV1_ALERT_USER_CANCELLED",
        "UNEXPECTED_EOF_WHILE_READING",
        None,
    }
)
"""OpenSSL's reasons of transient failures: damaged or truncated records, an error within the server
(alert 80, RFC 8446, section 6.2). All others concern certificates, versions or parameters."""

_NOT_TLS = ("HTTP_REQUEST", "WRONG_VERSION_NUMBER")
"""OpenSSL's reasons for bytes that are not a TLS record, as of a server without TLS."""


class DialError(OSError):
    """Failed dial; its text is the reason.

    `permanent` states whether dialing the same URL again must fail in the same way.
    """

    def __init__(self, text: str, *, permanent: bool = False) -> None:
        super().__init__(text)
        self.permanent: bool = permanent


def is_failed_dial(error: BaseException) -> bool:
    """Whether an error means that no transport could be opened, and not a bug in code."""
    if isinstance(error, BaseExceptionGroup):
        return all(is_failed_dial(one) for one in error.exceptions)
    return isinstance(error, OSError | EOFError) or type(error).__name__ in _OF_TRIO


def is_permanent(error: BaseException) -> bool:
    """Whether waiting cannot help: TLS failed because of certificates, versions or parameters."""
    match _origin(error):
        case DialError(permanent=permanent):
            return permanent
        case BaseExceptionGroup(exceptions=inner):
            return all(is_permanent(one) for one in inner)
        case ssl.SSLCertVerificationError():
            return True
        case ssl.SSLError() as tls if not isinstance(tls, _TRANSIENT_TLS):
            # An error that was not raised by OpenSSL has no such attribute.
            return getattr(tls, "reason", None) not in _TRANSIENT_TLS_REASONS
    return False


def reason(error: BaseException, *, schemes: str = "ws or http") -> str:
    """Return the reason why an operation of a socket, TLS or a proxy failed, as one line.

    `schemes` are those of URLs without TLS.
    """
    text = _reason(_origin(error), schemes)
    text = "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)
    return text if len(text) <= _MAX_REASON else f"{text[:_MAX_REASON]}..."


def _origin(error: BaseException) -> BaseException:
    """Return the cause of an error that has no reason of its own."""
    while isinstance(error.__cause__, OSError | BaseExceptionGroup):
        if isinstance(error, DialError) or getattr(error, "errno", None) is not None:
            break
        error = error.__cause__
    return error


def _reason(error: BaseException, schemes: str) -> str:
    match error:
        case BaseExceptionGroup(exceptions=inner):
            return "; ".join(dict.fromkeys(reason(one, schemes=schemes) for one in inner))
        case DialError():
            return str(error)
        case ssl.SSLEOFError() | ssl.SSLZeroReturnError():
            return "connection closed by the peer"
        case ssl.SSLError(reason=name) if name in _NOT_TLS:
            return (
                f"the server does not use TLS at this port: without TLS, URLs begin with {schemes}"
            )
        case ssl.SSLError():
            return _SOURCE_OF_OPENSSL.sub("", error.strerror or str(error)) or "TLS failed"
        case socket.gaierror():
            return error.strerror or str(error)
        case OSError(errno=int()):
            return _of_system(error)
        case ConnectionResetError() | EOFError():
            return "connection closed by the peer"
    name = type(error).__name__
    return str(error) or _WITHOUT_TEXT.get(name, name)


def _of_system(error: OSError) -> str:
    """Return the text of an error number, after the text that a library added to it."""
    number = error.errno or 0
    meaning = os.strerror(number) if number > 0 else ""
    text = error.strerror or ""
    if not meaning or meaning.startswith("Unknown error"):
        return text or str(error)
    if not text or text.startswith(_REPEATS_THE_ADDRESS):
        return meaning
    return text if meaning in text else f"{text}: {meaning}"
