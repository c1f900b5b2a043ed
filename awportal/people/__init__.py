"""People and projects: who is in what, who may let them in, and what they use. All rights of it are in these files."""
