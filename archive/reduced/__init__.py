"""Frames that others reduced, from their files to products."""
