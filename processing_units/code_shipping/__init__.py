"""A user's own code on its way to the nodes: packed by content, checked, unpacked, compared."""
