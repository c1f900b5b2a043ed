"""A night as a whole: the order of its recipes, the frames that each takes, and what is there of what could be."""
