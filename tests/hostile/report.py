"""Print what ``make hostile`` has found as the table of docs/reliability.md."""

from __future__ import annotations

import json
import re
from pathlib import Path

_LONGEST = 160


def main() -> None:
    """Read build/hostile.jsonl and print it."""
    rows = [json.loads(line) for line in Path("build/hostile.jsonl").read_text("utf-8").splitlines()]
    print("| program | what it tried | what it met |\n|-|-|-|")
    for name, tries, met in rows:
        # Places of the machine that ran the tests are nobody's business.
        plain = re.sub(r"/(tmp|dev/shm|root)/[^ ,:;']*/", "/.../", met).replace("|", "/").replace("\n", " ")
        print(f"| {name.replace('_', ' ')} | {tries} | {plain[:_LONGEST]}{'…' if len(plain) > _LONGEST else ''} |")
    print(f"\n{len(rows)} programs.")


if __name__ == "__main__":
    main()
