"""Kernels compiled by numba: once a machine, kept on disk, loaded by the fork server before any job.

A module of this package decorates its kernels with :func:`compiled` and declares one ``@warm_up`` function that calls
each of them on a few pixels, in the types that recipes use. ``python -m recipes compile`` (part of the set-up) and the
fork server call those of all modules. Recipes import kernels inside functions: the portal, which reads the catalogue of
recipes, never loads numba.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba

import recipes.ccd.kernels

Function = TypeVar("Function", bound=Callable[..., Any])

_warm_ups: dict[str, Callable[[], None]] = {}


def compiled(function: Function) -> Function:
    """Compile `function` at its first call with each set of types, keep it on disk, and run it without the lock.

    Arithmetic is IEEE's own: no reordering of sums, so the bytes are the same on every machine of a kind.
    """
    return cast(Function, numba.njit(cache=True, nogil=True)(function))


def inlined(function: Function) -> Function:
    """Compile a small `function` into each kernel that calls it."""
    return cast(Function, numba.njit(cache=True, nogil=True, inline="always")(function))


def warm_up(function: Callable[[], None]) -> Callable[[], None]:
    """Declare what calls the kernels of a module on a few pixels."""
    _warm_ups[function.__module__] = function
    return function


def load_all() -> list[str]:
    """Compile the kernels of all modules, or load them from the disk; return the modules' names."""
    for module in pkgutil.iter_modules(recipes.ccd.kernels.__path__):
        importlib.import_module(f"recipes.ccd.kernels.{module.name}")
    for call in _warm_ups.values():
        call()
    return sorted(_warm_ups)
