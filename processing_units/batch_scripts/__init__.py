"""Batch scripts: Starlark, YAML or CSV that says which runs to make, read in a process that can do nothing else."""
