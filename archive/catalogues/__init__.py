"""Reference catalogues: read from what observatories and services give, written in one form that every recipe takes."""
