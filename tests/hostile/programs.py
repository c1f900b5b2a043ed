"""Hostile programs that are shipped as code: what each tries, its source, and what it has to meet; see programs.toml.

A program runs in place of ``recipes/__main__.py``. What it tries through ``attempt`` is told in its log as ``MET``; if
anything succeeds there that must not, the log says ``SUCCEEDED`` and the test fails.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field
from pathlib import Path

PRELUDE = """
import ctypes, errno, json, mmap, os, resource, signal, socket, subprocess, sys, threading, time
job = json.load(open("job.json"))
told = job["parameters"]
libc = ctypes.CDLL(None, use_errno=True)
def met(text):
    print("MET " + text, flush=True)
def attempt(what, function, *arguments):
    try:
        done = function(*arguments)
    except BaseException as error:
        met(what + ": " + type(error).__name__ + ", " + str(getattr(error, "strerror", None) or error)[:80])
    else:
        met(what + ": SUCCEEDED " + repr(done)[:80])
def call(name, *arguments):
    done = getattr(libc, name)(*arguments) if isinstance(name, str) else libc.syscall(name, *arguments)
    if done == -1:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return done
def write(path, content="x"):
    with open(path, "w") as file:
        file.write(content)
def read(path):
    with open(path, "rb") as file:
        return file.read(100)
def result(*products, **more):
    made = [{"kind": "BiasFrame", "name": "Bias", "sha256": "0" * 64, "size": 1, **product} for product in products]
    write("outputs/result.json", json.dumps({"recipe": "x", "state": "done", "products": made, **more}))
def fits(*cards):
    first = ["SIMPLE  =                    T", *cards, "END"]
    return "".join(card.ljust(80) for card in first).ljust(2880)
"""


@dataclass(frozen=True)
class Program:
    """A program, and what its log or its failure has to say."""

    name: str
    tries: str
    source: str
    meets: str
    fault: str = ""
    limits: dict[str, int] = field(default_factory=dict)
    may_succeed: bool = False


PROGRAMS = [
    Program(name, **told)
    for name, told in tomllib.loads(Path(__file__).with_name("programs.toml").read_text("utf-8")).items()
]
