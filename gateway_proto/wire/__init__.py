"""Layers between received bytes and payloads: frames, compression, payloads and command codec."""
