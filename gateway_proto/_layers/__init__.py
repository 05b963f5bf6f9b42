"""bytes ↔ events: the road of the data. The files sort in the order of the road."""
