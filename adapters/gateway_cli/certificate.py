"""TLS context with a new certificate for a host."""

from __future__ import annotations

import contextlib
import pathlib
import ssl
import tempfile
from collections.abc import Iterator

__all__ = ["certificate"]


@contextlib.contextmanager
def certificate(host: str) -> Iterator[tuple[ssl.SSLContext, pathlib.Path]]:
    """Yield a context with a new certificate, and the file of the authority that has issued it."""
    import trustme  # and with it cryptography, which few runs need

    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    names = dict.fromkeys((host, "localhost", "127.0.0.1", "::1"))
    authority.issue_cert(*names).configure_cert(context)
    with tempfile.TemporaryDirectory(prefix="gateway-proto-") as folder:
        path = pathlib.Path(folder) / "ca.pem"
        authority.cert_pem.write_to_path(path)
        yield context, path
