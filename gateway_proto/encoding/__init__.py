"""Encodings of values: External Term Format, and values that are still undecoded."""
