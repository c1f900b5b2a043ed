"""The `awe` command: an IPython prompt, or a script, with what Astro-WISE's users know.

Exit codes of a script: 0 ok, 1 a recipe failed, 2 usage, 3 not allowed, 4 lost or timed out, 130 interrupted.
"""

from __future__ import annotations

import argparse
import runpy
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from awclient.awe.context import SessionContext
from awclient.awe.local import LocalProcessor
from awclient.awe.processor import Processor
from awclient.awe.queries import product_classes
from awclient.client import Portal
from awclient.errors import EXIT_INTERRUPTED, EXIT_OK, ClientError
from awclient.session import Session
from awclient.terminal import clean, say, tell

_BANNER = """Welcome to awe, the prompt of awportal {version} at {url}
  dpu      recipes on the processing units: dpu.run('Reduce', i='WFI', d='2000-04-28', f='#842', c='ccd50', C=1)
  lpu      the same on this machine
  context  {context!r}
  queries  list((RawFrame.filter == 'V') & (RawFrame.date >= '2000-04-28'))[0].retrieve()
  help(dpu), dpu.show_sequence_options('Reduce'), %quickref; leave with exit
"""


def namespace(portal: Portal) -> dict[str, Any]:
    """Return what is there at the prompt, by name; a program of one's own can use it as well."""
    context = SessionContext(portal)
    return {
        "dpu": Processor(portal, context),
        "lpu": LocalProcessor(portal, context),
        "context": context,
        "portal": portal,
        **product_classes(portal),
    }


def main() -> None:
    """Run the command."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Run the command with these arguments and return its exit code."""
    parser = argparse.ArgumentParser(prog="awe", description="The prompt of awportal; with a script, run that.")
    parser.add_argument("--url", default="", help="the portal's address; else AWPORTAL_URL, else the one logged in to")
    parser.add_argument("--token-file", type=Path, help="file that holds the token")
    parser.add_argument("--patience", type=float, default=60.0, help="seconds to go on while the portal is away")
    parser.add_argument("-c", dest="code", metavar="CODE", help="run this Python text")
    parser.add_argument("script", nargs="?", type=Path, help="a Python file, which finds dpu and the rest")
    parser.add_argument("arguments", nargs=argparse.REMAINDER, help="of the script")
    given = parser.parse_args(arguments)
    try:
        with Session(given.url, given.token_file, given.patience).open() as portal:
            names = namespace(portal)
            if given.code is not None:
                sys.argv = ["-c"]
                exec(compile(given.code, "<awe -c>", "exec"), {"__name__": "__main__", **names})  # noqa: S102 - the user's
            elif given.script is not None:
                sys.argv = [str(given.script), *given.arguments]
                runpy.run_path(str(given.script), names, "__main__")
            else:
                return _interactive(portal, names)
    except ClientError as problem:
        tell("awe", problem)
        return problem.exit_code
    except KeyboardInterrupt:
        say("interrupted; what was submitted goes on")
        return EXIT_INTERRUPTED
    return EXIT_OK


def _interactive(portal: Portal, names: dict[str, Any]) -> int:
    """Open the prompt; errors of the portal are told in a line, as no traceback helps with them."""
    from IPython.terminal.embed import InteractiveShellEmbed
    from IPython.terminal.prompts import Prompts
    from pygments.token import Token  # type: ignore[import-untyped]

    class AwePrompts(Prompts):
        def in_prompt_tokens(self) -> list[tuple[Any, str]]:
            return [(Token.Prompt, "awe> ")]

        def continuation_prompt_tokens(self, *_: Any, **__: Any) -> list[tuple[Any, str]]:
            return [(Token.Prompt, "...> ")]

        def out_prompt_tokens(self) -> list[tuple[Any, str]]:
            return []

    def tell_it(shell: Any, kind: type, problem: ClientError, trace: Any, tb_offset: int | None = None) -> None:
        tell("awe", problem)

    banner = _BANNER.format(version=version("awportal"), url=portal.url, context=names["context"])
    shell: Any = InteractiveShellEmbed(  # type: ignore[no-untyped-call]
        banner1=clean(banner), user_ns=names, confirm_exit=False
    )
    shell.prompts = AwePrompts(shell)
    shell.set_custom_exc((ClientError,), tell_it)
    shell()
    return EXIT_OK
