"""``python -m recipes job.json`` runs a job; ``list`` and ``describe RECIPE`` tell what there is, all of it as JSON
``describe --to FILE``; ``compile`` makes the kernels ready, once a machine.

Exit code 0: done; 1: the job failed and its result file says why; 2: the command line was wrong.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

# One job, one core: the libraries' own threads would fight those of the neighbouring jobs.
for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_variable, "1")

from recipes.catalogue import all_recipes, find_recipe  # noqa: E402
from recipes.errors import RecipeError  # noqa: E402
from recipes.recipe import Recipe  # noqa: E402

USAGE = "usage: python -m recipes JOB.json | list | describe RECIPE | describe --to FILE | compile"


def main(arguments: list[str]) -> int:
    """Run the command line `arguments`; return the exit code."""
    if arguments == ["list"]:
        for recipe in all_recipes().values():
            print(f"{recipe.name:14} {recipe.summary}")
        return 0
    if arguments == ["compile"]:
        from recipes.ccd.kernels.compiled import compile_all

        print(f"compiled: {', '.join(name.rsplit('.', 1)[-1] for name in compile_all()) or 'nothing'}")
        return 0
    if len(arguments) == 3 and arguments[:2] == ["describe", "--to"]:
        told = [recipe.told() for recipe in all_recipes().values()]
        Path(arguments[2]).write_text(json.dumps(told, ensure_ascii=False), "utf-8")
        return 0
    if len(arguments) == 2 and arguments[0] == "describe":
        try:
            print(_description(find_recipe(arguments[1])))
        except RecipeError as error:
            print(f"{error.message}; {error.hint}", file=sys.stderr)
            return 2
        return 0
    if len(arguments) != 1 or arguments[0].startswith("-"):
        print(USAGE, file=sys.stderr)
        return 0 if arguments in (["-h"], ["--help"]) else 2
    if not Path(arguments[0]).is_file():
        print(f"there is no job file {arguments[0]!r}\n{USAGE}", file=sys.stderr)
        return 2
    from recipes.running import run_job

    return run_job(Path(arguments[0]))


def _description(recipe: Recipe) -> str:
    lines = [f"{recipe.name} {recipe.version} → {', '.join(recipe.outputs)}", "", recipe.documentation, "", "Inputs:"]
    for entry in recipe.inputs:
        number = f"{entry.minimum} or more" if entry.many else ("one" if entry.minimum else "one, optional")
        lines.append(f"  {entry.role}: {' or '.join(entry.kinds)} ({number})")
    return "\n".join(
        [*lines, "", "Parameters (JSON schema):", json.dumps(recipe.schema(), indent=2, ensure_ascii=False)]
    )


if __name__ == "__main__":
    try:
        code = main(sys.argv[1:])
        sys.stdout.flush()
    except BrokenPipeError:  # whoever read the output (head, less) has closed it: nothing is wrong
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    sys.exit(code)
