"""nothing → the version: it stands here alone, and everything that names it takes it from here."""

from __future__ import annotations

__all__ = ["__version__"]

__version__ = "0.1.0"
