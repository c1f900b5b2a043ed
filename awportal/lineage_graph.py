"""Draw where a product comes from and what came of it: a graph of boxes, raw frames of one role gathered in one box."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

from django.urls import reverse

from archive.models import Product
from archive.queries import Family, Kin

COLUMN, ROW, WIDTH, HEIGHT = 210, 54, 168, 40
MAXIMUM_BOXES = 80
_Key = tuple[str, int, str]


@dataclass
class Box:
    """A product, or several frames that serve one product in one role."""

    title: str
    subtitle: str
    link: str
    level: int
    this: bool = False
    x: int = 0
    y: int = 0

    @property
    def text_x(self) -> int:
        """Where its text begins."""
        return self.x + 10


@dataclass
class Graph:
    """Boxes and the lines between them."""

    width: int
    height: int
    boxes: list[Box]
    paths: list[str] = field(default_factory=list)
    left_out: int = 0


def lineage_graph(product: Product, up: Family, down: Family) -> Graph:
    """Return the graph, what it was made from on the left."""
    known = {**up.products, **down.products, product.pk: product}
    steps = list(dict.fromkeys([*up.steps, *down.steps]))
    boxes: dict[_Key, Box] = {("product", product.pk, ""): _box(product, 0, this=True)}
    lines: set[tuple[_Key, _Key]] = set()
    for family, sign in ((up, -1), (down, 1)):
        depths = _depths(family.steps, sign)
        for step in family.steps:
            other = step.source_id if sign < 0 else step.product_id
            if other not in known:
                continue
            key = _gather(step, other, known[other], sign)
            if key not in boxes:
                boxes[key] = _box(known[other], sign * depths[other])
            elif key[0] == "group":
                boxes[key].level = min(boxes[key].level, sign * depths[other])
            ends = (key, ("product", step.product_id, "")) if sign < 0 else (("product", step.source_id, ""), key)
            lines.add(ends)
    _count_groups(boxes, steps, known)
    return _placed(boxes, lines)


def _gather(step: Kin, other: int, product: Product, sign: int) -> _Key:
    if sign < 0 and product.kind.startswith("Raw"):
        return ("group", step.product_id, step.role)
    return ("product", other, "")


def _depths(steps: list[Kin], sign: int) -> dict[int, int]:
    """Return how far each product is away by its longest way, so that lines never run back."""
    depths: dict[int, int] = defaultdict(int)
    for _ in range(20):
        changed = False
        for step in steps:
            near, far = (step.product_id, step.source_id) if sign < 0 else (step.source_id, step.product_id)
            if depths[far] < depths[near] + 1:
                depths[far] = depths[near] + 1
                changed = True
        if not changed:
            break
    return depths


def _box(product: Product, level: int, this: bool = False) -> Box:
    where = " · ".join(part for part in (f"chip {product.chip}" if product.chip else "", product.filter_name) if part)
    return Box(product.kind, where, reverse("product", args=[product.pk]), level, this)


def _count_groups(boxes: dict[_Key, Box], steps: list[Kin], known: dict[int, Product]) -> None:
    members: dict[_Key, list[int]] = defaultdict(list)
    for step in steps:
        members["group", step.product_id, step.role].append(step.source_id)
    for key, box in boxes.items():
        numbers = members.get(key, [])
        if key[0] == "group" and len(numbers) > 1:
            box.title = f"{len(numbers)} × {known[numbers[0]].kind}"
            box.link = reverse("product-inputs", args=[key[1], key[2]])


def _placed(boxes: dict[_Key, Box], lines: set[tuple[_Key, _Key]]) -> Graph:
    columns: dict[int, list[_Key]] = defaultdict(list)
    for key, box in list(boxes.items())[:MAXIMUM_BOXES]:
        columns[box.level].append(key)
    levels = sorted(columns)
    tallest = max(len(keys) for keys in columns.values())
    for column, level in enumerate(levels):
        start = (tallest - len(columns[level])) * ROW // 2
        for row, key in enumerate(columns[level]):
            boxes[key].x, boxes[key].y = 8 + column * COLUMN, 8 + start + row * ROW
    shown = {key for keys in columns.values() for key in keys}
    graph = Graph(16 + (len(levels) - 1) * COLUMN + WIDTH, 8 + tallest * ROW, [boxes[key] for key in shown])
    graph.paths = [_curve(boxes[a], boxes[b]) for a, b in sorted(lines) if a in shown and b in shown]
    graph.boxes.sort(key=lambda box: (box.x, box.y))
    graph.left_out = len(boxes) - len(shown)
    return graph


def _curve(source: Box, target: Box) -> str:
    x1, y1, x2, y2 = source.x + WIDTH, source.y + HEIGHT // 2, target.x, target.y + HEIGHT // 2
    middle = (x1 + x2) // 2
    return f"M{x1},{y1}C{middle},{y1} {middle},{y2} {x2},{y2}"
