"""Draw where a product comes from and what came of it: a graph of boxes, raw frames of one role gathered in one box."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

from django.urls import reverse

from archive.models import Product
from archive.queries import Family, Kin

COLUMN, ROW, WIDTH, HEIGHT = 210, 54, 168, 40
MAXIMUM_BOXES = 80
_Key = tuple[str, tuple[int, ...]]


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
    groups = _groups(up.steps, known)
    boxes: dict[_Key, Box] = {("product", (product.pk,)): _box(product, 0, this=True)}
    lines: set[tuple[_Key, _Key]] = set()
    for family, sign in ((up, -1), (down, 1)):
        depths = _depths(family.steps, sign)
        for step in family.steps:
            other = step.source_id if sign < 0 else step.product_id
            if other not in known:
                continue
            together = groups.get((step.product_id, step.role), ()) if sign < 0 else ()
            key: _Key = ("group", together) if len(together) > 1 else ("product", (other,))
            if key not in boxes:
                boxes[key] = _box(known[other], sign * depths[other])
                if len(together) > 1:
                    boxes[key].title = f"{len(together)} × {known[other].kind}"
                    boxes[key].link = reverse("product-inputs", args=[step.product_id, step.role])
            near: _Key = ("product", (step.product_id if sign < 0 else step.source_id,))
            lines.add((key, near) if sign < 0 else (near, key))
    return _placed(boxes, lines)


def lineage_lines(product: Product, up: Family, down: Family) -> list[tuple[Product, str, int | None, bool]]:
    """Return the lineage as lines: a product, its role, for which product (None: this one), whether it came after."""
    before = [
        (up.products[step.source_id], step.role, None if step.product_id == product.pk else step.product_id, False)
        for step in up.steps
        if step.source_id in up.products
    ]
    after = [
        (down.products[step.product_id], step.role, None if step.source_id == product.pk else step.source_id, True)
        for step in down.steps
        if step.product_id in down.products
    ]
    return before + after


def _groups(steps: list[Kin], known: dict[int, Product]) -> dict[tuple[int, str], tuple[int, ...]]:
    """Return the raw frames that serve a product in one role; the same frames in two places are one box."""
    members: dict[tuple[int, str], list[int]] = defaultdict(list)
    for step in steps:
        source = known.get(step.source_id)
        if source is not None and source.kind.startswith("Raw"):
            members[step.product_id, step.role].append(step.source_id)
    return {place: tuple(sorted(set(numbers))) for place, numbers in members.items()}


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
