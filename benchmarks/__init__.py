"""this checkout → figures: how fast and how small it is, beside a bare loop and its peers."""
