"""The kinds of backend, one file each; a new kind is a new file."""
