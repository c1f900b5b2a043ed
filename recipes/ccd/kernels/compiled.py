"""Kernels compiled by numba: once a machine, kept on disk, loaded by the fork server before any job.

A module of this package decorates its kernels with :func:`compiled` and declares one ``@warm_up`` function that calls
each of them on a few pixels, in the types that recipes use. ``python -m recipes compile`` (part of the set-up) and the
fork server call those of all modules. Recipes import kernels inside functions: the portal, which reads the catalogue of
recipes, never loads numba.
"""

from __future__ import annotations

import importlib
import os
import pkgutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from typing import Any, TypeVar, cast

import numba
import numpy as np
from numpy.typing import NDArray

import recipes.ccd.kernels

Function = TypeVar("Function", bound=Callable[..., Any])

_warm_ups: dict[str, Callable[[], None]] = {}


def compiled(function: Function) -> Function:
    """Compile `function` at its first call with each set of types, keep it on disk, and run it without the lock.

    Arithmetic is IEEE's own: no reordering of sums, so the bytes are the same on every machine of a kind; a division by
    zero is infinite or no number, as in numpy.
    """
    return cast(Function, numba.njit(cache=True, nogil=True, error_model="numpy")(function))


def inlined(function: Function) -> Function:
    """Compile a small `function` into each kernel that calls it."""
    return cast(Function, numba.njit(cache=True, nogil=True, error_model="numpy", inline="always")(function))


def read_only(values: NDArray[Any]) -> NDArray[Any]:
    """Return a view that the kernels are compiled for, whether or not the array could be written to."""
    view = np.ascontiguousarray(values).view()
    view.flags.writeable = False
    return view


def warm_up(function: Callable[[], None]) -> Callable[[], None]:
    """Declare what calls the kernels of a module on a few pixels."""
    _warm_ups[function.__module__] = function
    return function


def load_all() -> list[str]:
    """Compile the kernels of all modules, or load them from the disk; return the modules' names."""
    return load(_modules())


def load(names: Sequence[str]) -> list[str]:
    """Compile the kernels of some modules, or load them from the disk; return the names of those that have any."""
    for name in names:
        importlib.import_module(name)
    found = [name for name in names if name in _warm_ups]
    for name in found:
        _warm_ups[name]()
    return found


def compile_all() -> list[str]:
    """Compile the kernels of all modules, some in each of as many processes as there are cores, and keep them."""
    number = len(os.sched_getaffinity(0))
    names = _modules()
    workers = [
        subprocess.Popen([sys.executable, "-c", _WORKER, *names[place::number]])
        for place in range(min(number, len(names)))
    ]
    failed = [worker.wait() for worker in workers]
    if any(failed):
        raise SystemExit("a kernel could not be compiled; see above")
    return load_all()  # what one module takes from another is there now; the rest is found on the disk


_WORKER = "import sys; from recipes.ccd.kernels.compiled import load; load(sys.argv[1:])"


def _modules() -> list[str]:
    return [f"recipes.ccd.kernels.{module.name}" for module in pkgutil.iter_modules(recipes.ccd.kernels.__path__)]
