"""Certificate of a test server, and the context of clients that trust it."""

from __future__ import annotations

import os
import ssl
import tempfile

from gateway_proto import LocalProtocolError

__all__ = ["Certificate"]

_NAMES = ("localhost", "127.0.0.1", "::1")


class Certificate:
    """Certificate of the names of localhost, signed by an authority made for it."""

    def __init__(self) -> None:
        try:
            import trustme
        except ImportError:
            raise LocalProtocolError(
                "ServerConfig.tls needs the package trustme here: pip install trustme"
            ) from None
        authority = trustme.CA()
        self.server_context: ssl.SSLContext = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert(*_NAMES).configure_cert(self.server_context)
        self.client_context: ssl.SSLContext = ssl.create_default_context()
        """Context that trusts the authority, and those that the system trusts."""
        authority.configure_trust(self.client_context)
        # Closed at once: on some systems a file cannot be opened twice.
        descriptor, path = tempfile.mkstemp(prefix="gateway-", suffix=".pem")
        self.path: str = path
        os.close(descriptor)
        authority.cert_pem.write_to_path(self.path)

    def remove(self) -> None:
        """Remove the file."""
        os.unlink(self.path)
