"""Write docs/recipes/: a page a recipe, from its docstring, signature and limits, with what was measured.

``python docs/make_recipe_pages.py`` writes them; with ``--check`` it only tells (exit code 1) which are not up to date.
What was measured stands in docs/recipes/measured.toml: lines of text by recipe, each with the command that showed it.
Pictures are docs/images/recipes/<Recipe>*.png.
"""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

from recipes.catalogue import all_recipes
from recipes.kinds import KINDS
from recipes.quality import LIMITS, QUALITY_FLAGS
from recipes.recipe import Input, Parameter, Recipe

DOCS = Path(__file__).resolve().parent
PAGES = DOCS / "recipes"
INDEX = """# The recipes

In the order in which a night needs them. `make docs` makes these pages from the recipes' own docstrings and signatures.

| recipe | what it does | makes |
|-|-|-|"""
LIMITS_TEXT = """Values outside set the flag. An empty limit is there to be learned from the chip's own history, or to
be set: `awrecipe limits`."""
WITH_ENTRIES = {"Parameters", "Returns", "Raises"}


def main(arguments: list[str]) -> int:
    """Write the pages, or check them."""
    measured = tomllib.loads((PAGES / "measured.toml").read_text("utf-8"))
    pages = {f"{recipe.name}.md": page(recipe, measured.get(recipe.name, {})) for recipe in all_recipes().values()}
    pages["README.md"] = index()
    there = {path.name for path in PAGES.glob("*.md")}
    wrong = sorted(there - pages.keys())
    for name, text in pages.items():
        path = PAGES / name
        if not path.exists() or path.read_text("utf-8") != text:
            wrong.append(name)
            if "--check" not in arguments:
                path.write_text(text, "utf-8")
    if "--check" in arguments and wrong:
        print(f"docs/recipes is not up to date ({', '.join(wrong)}): run `make docs`", file=sys.stderr)
        return 1
    for name in there - pages.keys():
        (PAGES / name).unlink()
    return 0


def index() -> str:
    """Return the list of the recipes, in the order in which a night needs them."""
    lines = [INDEX]
    for recipe in all_recipes().values():
        lines.append(f"| [{recipe.name}]({recipe.name}.md) | {inline(recipe.summary)} | {', '.join(recipe.outputs)} |")
    lines += ["", "**Quality flags** of products, bits of one number:", "", "| bit | meaning |", "|-|-|"]
    lines += [f"| {bit} | {meaning} |" for bit, meaning in QUALITY_FLAGS.items()]
    return "\n".join(lines) + "\n"


def page(recipe: Recipe, measured: dict[str, list[str]]) -> str:
    """Return a recipe's page."""
    parts = sections(recipe.documentation)
    entries = dict(_entries(parts.get("Parameters", [])))
    lines = [f"# {recipe.name}", "", inline(recipe.summary), ""]
    lines += [*_paragraphs(parts[""][1:]), ""]
    pictures = sorted((DOCS / "images" / "recipes").glob(f"{recipe.name}*.png"))
    lines += [f"![{recipe.name}](../images/recipes/{picture.name})" for picture in pictures]
    split = "product" if "product" in recipe.split_by else ", ".join(recipe.split_by) or "run"
    lines += ["", f"Makes {', '.join(recipe.outputs)}; one job for each {split}; runs best on a {recipe.runs_on}. "
              f"Version {recipe.version}. `awrecipe run {recipe.name} --night …`", ""]  # fmt: skip
    lines += ["## Inputs", "", "| input | kinds | how many | chosen by | what it is |", "|-|-|-|-|-|"]
    lines += [_input_row(entry, entries.get(entry.role, "")) for entry in recipe.inputs]
    optional = [entry for entry in recipe.inputs if not entry.minimum and not entry.primary]
    if optional:
        any_of = f"; at least one of {', '.join(recipe.needs_any_of)} is needed" if recipe.needs_any_of else ""
        lines += ["", f"What is optional and missing is named in the product (`made_without`){any_of}."]
    lines += ["", "## Parameters", ""]
    if recipe.parameters:
        lines += ["| parameter | default | unit | allowed | what it does |", "|-|-|-|-|-|"]
        lines += [_parameter_row(parameter) for parameter in recipe.parameters]
    else:
        lines.append("It has none.")
    lines += _limits(recipe)
    for title, body in parts.items():
        if title in {"", "Parameters"}:
            continue
        lines += ["", f"## {'Algorithm' if title == 'Notes' else title}", ""]
        if title in WITH_ENTRIES:
            lines += [f"- **{name}**: {inline(text)}" for name, text in _entries(body)]
        else:
            lines += _paragraphs(body)
    for title in ("Figures", "Speed"):
        if measured.get(title.lower()):
            lines += ["", f"## {title}", ""] + [f"- {line}" for line in measured[title.lower()]]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).rstrip() + "\n"


def sections(docstring: str) -> dict[str, list[str]]:
    """Return the lines of each part of a numpydoc docstring by title; the first part has none."""
    found: dict[str, list[str]] = {"": []}
    title = ""
    lines = docstring.splitlines()
    for line, following in zip(lines, [*lines[1:], ""], strict=True):
        if re.fullmatch(r"-{3,}", following.strip()) and line.strip():
            title = line.strip()
            found[title] = []
        elif not re.fullmatch(r"-{3,}", line.strip()):
            found[title].append(line)
    return found


def inline(text: str) -> str:
    """Return a line of reStructuredText as Markdown."""
    text = " ".join(text.split()).replace("|", "\\|")
    text = re.sub(r":math:`([^`]+)`", r"$\1$", text)
    text = re.sub(r":\w+:`~?(?:[\w.]*\.)?(\w+)`", r"`\1`", text)
    return text.replace("``", "`")


def _paragraphs(lines: list[str]) -> list[str]:
    blocks = [block.strip() for block in re.split(r"\n\s*\n", "\n".join(lines)) if block.strip()]
    written: list[str] = []
    for block in blocks:
        if block.startswith(".. math::"):
            written += ["$$", block.removeprefix(".. math::").strip(), "$$", ""]
        else:
            items = re.split(r"^\s*[-*]\s+", block, flags=re.M)
            written += [inline(items[0])] if items[0].strip() else []
            written += [f"- {inline(item)}" for item in items[1:]] + [""]
    return written


def _entries(lines: list[str]) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for line in lines:
        if line.strip() and not line[0].isspace():
            found.append((line.split(":", 1)[0].strip(), ""))
        elif line.strip() and found:
            name, text = found[-1]
            found[-1] = (name, f"{text} {line.strip()}".strip())
    return found


def _input_row(entry: Input, text: str) -> str:
    most = "any number" if entry.maximum is None else ("one" if entry.maximum == 1 else f"at most {entry.maximum}")
    least = f"at least {entry.minimum}" if entry.minimum > 1 else ("" if entry.minimum else "optional, ")
    number = f"{least}{'' if entry.minimum > 1 and entry.maximum is None else most}".strip(", ") or most
    by = {"sky": "the sky it covers", "job": "what was made with it", "run": "the run"}.get(entry.chosen_by, "validity")
    chosen = "you" if entry.primary else by
    kinds = ", ".join(f"{kind}" for kind in entry.kinds if kind in KINDS)
    return f"| `{entry.role}` | {kinds} | {number} | {chosen} | {inline(text)} |"


def _parameter_row(parameter: Parameter) -> str:
    if parameter.choices:
        allowed = ", ".join(str(choice) for choice in parameter.choices)
    else:
        bounds = [f"from {parameter.minimum:g}" if parameter.minimum is not None else "",
                  f"to {parameter.maximum:g}" if parameter.maximum is not None else ""]  # fmt: skip
        allowed = " ".join([parameter.type, *filter(None, bounds)])
    default = "" if parameter.default == "" else f"`{parameter.default}`"
    return f"| `{parameter.name}` | {default} | {parameter.unit} | {allowed} | {inline(parameter.description)} |"


def _limits(recipe: Recipe) -> list[str]:
    """Return the table of the limits that the products of a recipe are held to."""
    rows = []
    for kind in recipe.outputs:
        for name, limit in LIMITS.get(kind, {}).items():
            low = (
                limit.minimum
                if limit.minimum is not None
                else (-limit.maximum if limit.symmetric and limit.maximum else None)
            )
            bounds = f"{'' if low is None else f'{low:g}'} | {'' if limit.maximum is None else f'{limit.maximum:g}'}"
            rows.append(f"| {kind} | `{name}` | {bounds} | {QUALITY_FLAGS[limit.flag]} |")
    if not rows:
        return []
    return [
        "",
        "## Quality limits",
        "",
        LIMITS_TEXT,
        "",
        "| product | value | least | most | flag |",
        "|-|-|-|-|-|",
        *rows,
    ]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
