"""TLS context that trusts the certificates in SSL_CERT_FILE."""

from __future__ import annotations

import os
import pathlib
import ssl

from gateway_cli.progress import read_text
from gateway_cli.show import MISUSED, fail

__all__ = ["tls_context"]


def tls_context() -> ssl.SSLContext:
    """Return the default context, with the certificates that SSL_CERT_FILE names.

    OpenSSL ignores a file that it cannot read; here it is reported, and ends the command.
    """
    context = ssl.create_default_context()
    name = os.environ.get("SSL_CERT_FILE")
    if not name:
        return context
    text = read_text(pathlib.Path(name), option="SSL_CERT_FILE")
    try:
        context.load_verify_locations(cadata=text)
    except (ssl.SSLError, ValueError):
        fail(f"SSL_CERT_FILE {name}: no certificates in PEM", status=MISUSED)
    return context
