"""A certificate for a test, and what a client needs to trust it."""

from __future__ import annotations

import os
import ssl
import tempfile

from gateway_proto import LocalProtocolError

__all__ = ["Certificate"]

_NAMES = ("localhost", "127.0.0.1", "::1")


class Certificate:
    """A certificate of this machine's loopback names, signed by an authority made for it."""

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
        """Trusts the authority, and what the system trusts."""
        authority.configure_trust(self.client_context)
        # Closed at once: on some systems a file cannot be opened twice.
        descriptor, self.path = tempfile.mkstemp(prefix="gateway-", suffix=".pem")
        os.close(descriptor)
        authority.cert_pem.write_to_path(self.path)

    def remove(self) -> None:
        """Remove the file."""
        os.unlink(self.path)
