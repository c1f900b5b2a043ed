"""LA Cosmic where it matters: kernels that look only at pixels that can be hits.

The working planes carry a frame of :data:`MARGIN` mirrored pixels, so no filter meets an edge. A cosmic ray's Laplacian
to noise S exceeds the threshold, since S' = S - median(S) is never more than S, which is not negative; and the noise is
no less than the least of the 5 × 5 pixels whose median it is. One pass that a processor does on many pixels at once
leaves a percent of them, and medians are taken only there, each once.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from recipes.ccd.kernels.compiled import compiled, warm_up
from recipes.ccd.kernels.medians import median_of_any, median_of_odd

MARGIN = 4  # pixels: S' looks 3 pixels around, its noise 4, the fine structure 4
GOOD, BAD, HIT, AGAIN, LISTED = 0, 1, 2, 4, 8  # of a pixel's state: the last two are bits beside HIT
CROWD = 6  # bad pixels of 3 × 3: the straight edge of what is three pixels wide, or two columns
REACH = 4  # pixels around a change whose S' and fine structure may differ

_ROWS = 32  # at a time: what is remembered of them stays in the processor's cache
_DEEP = _ROWS + 8
_LEAST_VARIANCE = np.float32(1e-5)  # of which a root is taken, as in astroscrappy
_LEAST_STRUCTURE = np.float32(0.01)  # sigma, by which S' is divided (van Dokkum 2001, section 3)
_UNKNOWN = np.float32(-3e38)
_ZERO = np.float32(0)
_EIGHT, _HALF = np.float32(8), np.float32(0.5)


@compiled
def prepare(data: Any, variance: Any, bad: Any, clean: Any, spread: Any, state: Any, y0: int, y1: int) -> None:
    """Copy rows `y0` to `y1` of data and variance into the working planes; what is no number is bad."""
    width = data.shape[1]
    for y in range(y0, y1):
        state[y + MARGIN, :] = BAD
        for x in range(width):
            value, noise = data[y, x], variance[y, x]
            known = np.isfinite(value) and np.isfinite(noise)
            clean[y + MARGIN, x + MARGIN] = value if known else _ZERO
            spread[y + MARGIN, x + MARGIN] = noise if known else _ZERO
            state[y + MARGIN, x + MARGIN] = GOOD if known and not bad[y, x] else BAD


@compiled
def fill_bad(clean: Any, spread: Any, state: Any, rounds: int) -> None:
    """Replace bad pixels by the mean of their known neighbours, inwards for so many rounds.

    What touches a bad pixel that lies among others is bad from then on: no mean tells what the light does there.
    """
    height, width = clean.shape
    count = 0
    for y in range(MARGIN, height - MARGIN):
        for x in range(MARGIN, width - MARGIN):
            if state[y, x] == BAD:
                count += 1
    rows, columns = np.empty(count, np.int32), np.empty(count, np.int32)
    count = 0
    for y in range(MARGIN, height - MARGIN):
        for x in range(MARGIN, width - MARGIN):
            if state[y, x] == BAD:
                rows[count], columns[count] = y, x
                count += 1
    guards = _beside_crowds(state, rows, columns)
    left = count
    mean = np.empty((count, 2), np.float32)
    done = np.zeros(count, np.uint8)
    for _ in range(rounds):
        if left == 0:
            break
        for index in range(left):
            y, x = rows[index], columns[index]
            total, noise, number = _ZERO, _ZERO, 0
            for v in range(y - 1, y + 2):
                for u in range(x - 1, x + 2):
                    if state[v, u] != BAD:
                        total += clean[v, u]
                        noise += spread[v, u]
                        number += 1
            done[index] = number > 0
            if number:
                mean[index, 0], mean[index, 1] = total / np.float32(number), noise / np.float32(number)
        kept = 0
        for index in range(left):
            y, x = rows[index], columns[index]
            if done[index]:
                clean[y, x], spread[y, x] = mean[index, 0], mean[index, 1]
                state[y, x] = AGAIN  # known from now on, bad again at the end
            else:
                rows[kept], columns[kept] = y, x
                kept += 1
        left = kept
    for y in range(MARGIN, height - MARGIN):
        for x in range(MARGIN, width - MARGIN):
            if state[y, x] == AGAIN:
                state[y, x] = BAD
    for place in guards:
        state[place // width, place % width] = BAD


@compiled
def _beside_crowds(state: Any, rows: Any, columns: Any) -> Any:
    """Return the positions of good pixels that touch a bad one with at least :data:`CROWD` bad ones around it."""
    height, width = state.shape
    found = np.empty(8 * len(rows), np.int64)
    count = 0
    for index in range(len(rows)):
        y, x = rows[index], columns[index]
        ya, yb = max(y - 1, MARGIN), min(y + 2, height - MARGIN)
        xa, xb = max(x - 1, MARGIN), min(x + 2, width - MARGIN)
        bad = 0
        for v in range(ya, yb):
            for u in range(xa, xb):
                bad += state[v, u] == BAD
        if bad < CROWD:
            continue
        for v in range(ya, yb):
            for u in range(xa, xb):
                if state[v, u] == GOOD:
                    found[count] = v * width + u
                    count += 1
    return found[:count]


@compiled
def mirror(plane: Any) -> None:
    """Mirror the image into the margin of a working plane, about its outermost rows and columns."""
    height, width = plane.shape
    first_x, last_x, first_y, last_y = MARGIN, width - MARGIN - 1, MARGIN, height - MARGIN - 1
    for step in range(1, MARGIN + 1):
        for y in range(first_y, last_y + 1):
            plane[y, first_x - step] = plane[y, min(first_x + step, last_x)]
            plane[y, last_x + step] = plane[y, max(last_x - step, first_x)]
    for step in range(1, MARGIN + 1):
        plane[first_y - step, :] = plane[min(first_y + step, last_y), :]
        plane[last_y + step, :] = plane[max(last_y - step, first_y), :]


@compiled
def _promising(up: Any, here: Any, down: Any, least: Any, state: Any, limit: Any, flags: Any) -> None:
    """Flag pixels of a row whose Laplacian could exceed the threshold were the noise as low as its surroundings'."""
    number = len(here) - 2 * MARGIN
    left, middle, right = here[MARGIN - 1 :], here[MARGIN:], here[MARGIN + 1 :]
    above, below, own = up[MARGIN:], down[MARGIN:], state[MARGIN:]
    a, b, c, d, e = least[MARGIN - 2 :], least[MARGIN - 1 :], least[MARGIN:], least[MARGIN + 1 :], least[MARGIN + 2 :]
    for x in range(number):
        twice = middle[x] + middle[x]
        w, z, n, s = left[x], right[x], above[x], below[x]
        total = max(twice - n - w, _ZERO) + max(twice - n - z, _ZERO)
        total += max(twice - s - w, _ZERO) + max(twice - s - z, _ZERO)
        noise = max(min(min(min(a[x], b[x]), min(c[x], d[x])), e[x]), _LEAST_VARIANCE)
        flags[x] = (total * total > limit * noise) & (own[x] != BAD)


@compiled
def _least_of_rows(a: Any, b: Any, c: Any, d: Any, e: Any, least: Any) -> None:
    for x in range(len(least)):
        least[x] = min(min(min(a[x], b[x]), min(c[x], d[x])), e[x])


@compiled
def _noise(spread: Any, y: int, x: int, first: int, known: Any, values: Any) -> Any:
    """Return the noise of a pixel, had it no hit: the root of the median variance of 5 × 5 pixels."""
    noise = known[y - first, x]
    if noise == _UNKNOWN:
        number = 0
        for v in range(y - 2, y + 3):
            for u in range(x - 2, x + 3):
                values[number] = spread[v, u]
                number += 1
        noise = np.sqrt(max(median_of_odd(values, 25), _LEAST_VARIANCE))
        known[y - first, x] = noise
    return noise


@compiled
def _laplacian(clean: Any, y: int, x: int) -> Any:
    """Return eight times the Laplacian L+ of the image with each pixel taken as four."""
    twice = clean[y, x] + clean[y, x]
    n, s, w, e = clean[y - 1, x], clean[y + 1, x], clean[y, x - 1], clean[y, x + 1]
    total = max(twice - n - w, _ZERO) + max(twice - n - e, _ZERO)
    return total + (max(twice - s - w, _ZERO) + max(twice - s - e, _ZERO))


@compiled
def _sharpness(clean: Any, spread: Any, y: int, x: int, first: int, noises: Any, known: Any, values: Any) -> Any:
    """Return S: the Laplacian in units of the noise."""
    sharp = known[y - first, x]
    if sharp == _UNKNOWN:
        total = _laplacian(clean, y, x)
        sharp = total / (_EIGHT * _noise(spread, y, x, first, noises, values)) if total > _ZERO else _ZERO
        known[y - first, x] = sharp
    return sharp


@compiled
def _excess(
    clean: Any, spread: Any, y: int, x: int, first: int, noises: Any, sharp: Any, known: Any, values: Any, more: Any
) -> Any:
    """Return S': S less its median over 5 × 5 pixels."""
    excess = known[y - first, x]
    if excess == _UNKNOWN:
        number = 0
        for v in range(y - 2, y + 3):
            for u in range(x - 2, x + 3):
                more[number] = _sharpness(clean, spread, v, u, first, noises, sharp, values)
                number += 1
        own = more[12]
        excess = own - median_of_odd(more, 25)
        known[y - first, x] = excess
    return excess


@compiled
def _fine_structure(clean: Any, y: int, x: int, first: int, known: Any, values: Any) -> Any:
    """Return the fine structure: the median of 3 × 3 pixels less the median of those over 7 × 7."""
    number = 0
    for v in range(y - 3, y + 4):
        for u in range(x - 3, x + 4):
            median = known[v - first, u]
            if median == _UNKNOWN:
                count = 49
                for t in range(v - 1, v + 2):
                    for s in range(u - 1, u + 2):
                        values[count] = clean[t, s]
                        count += 1
                median = median_of_odd(values[49:], 9)
                known[v - first, u] = median
            values[number] = median
            number += 1
    own = values[24]
    return own - median_of_odd(values, 49)


@compiled
def find_hits(
    clean: Any, spread: Any, state: Any, y0: int, y1: int, threshold: Any, low: Any, contrast: Any, again: bool
) -> Any:
    """Return the flat positions (in the working planes) of hits found in rows `y0` to `y1` of them, and beside these.

    Where `again`, only pixels marked AGAIN are looked at.
    """
    width = clean.shape[1]
    noises = np.empty((_DEEP, width), np.float32)
    sharp, excess, medians = np.empty_like(noises), np.empty_like(noises), np.empty_like(noises)
    seen = np.zeros((_DEEP, width), np.uint8)
    flags = np.zeros((width + 7) // 8 * 8, np.uint8)
    words = flags.view(np.uint64)
    least = np.empty(width, np.float32)
    values, more = np.empty(64, np.float32), np.empty(32, np.float32)
    found = np.empty(1024, np.int64)
    count = 0
    limit = (_EIGHT * threshold) ** 2
    used = True
    for start in range(y0, y1, _ROWS):
        first = start - 4
        if used:
            noises[:], sharp[:], excess[:], medians[:] = _UNKNOWN, _UNKNOWN, _UNKNOWN, _UNKNOWN
            seen[:] = 0
            used = False
        for y in range(start, min(start + _ROWS, y1)):
            if again:
                flags[: width - 2 * MARGIN] = state[y, MARGIN : width - MARGIN] & AGAIN
            else:
                _least_of_rows(spread[y - 2], spread[y - 1], spread[y], spread[y + 1], spread[y + 2], least)
                _promising(clean[y - 1], clean[y], clean[y + 1], least, state[y], limit, flags)
            for word in range(len(words)):
                if words[word] == 0:
                    continue
                for place in range(8 * word, 8 * word + 8):
                    if flags[place] == 0:
                        continue
                    x = place + MARGIN
                    total = _laplacian(clean, y, x)
                    if again and not total * total > limit * _least_around(spread, y, x):
                        continue
                    used = True
                    if not _sharpness(clean, spread, y, x, first, noises, sharp, values) > threshold:
                        continue
                    high = _excess(clean, spread, y, x, first, noises, sharp, excess, values, more)
                    if not high > threshold:
                        continue
                    noise = _noise(spread, y, x, first, noises, values)
                    structure = _fine_structure(clean, y, x, first, medians, values) / noise
                    if not high / max(structure, _LEAST_STRUCTURE) > contrast:
                        continue
                    # Neighbours that are as sharp, whatever their structure, and all around those that are half so.
                    for v in range(y - 1, y + 2):
                        for u in range(x - 1, x + 2):
                            if state[v, u] & BAD or seen[v - first, u] & 1:
                                continue
                            seen[v - first, u] |= 1
                            if not _excess(clean, spread, v, u, first, noises, sharp, excess, values, more) > threshold:
                                continue
                            for t in range(v - 1, v + 2):
                                for s in range(u - 1, u + 2):
                                    if state[t, s] & BAD or seen[t - first, s] & 2:
                                        continue
                                    seen[t - first, s] |= 2
                                    if _excess(clean, spread, t, s, first, noises, sharp, excess, values, more) > low:
                                        if count == len(found):
                                            longer = np.empty(2 * count, np.int64)
                                            longer[:count] = found
                                            found = longer
                                        found[count] = t * width + s
                                        count += 1
    return found[:count]


@compiled
def _least_around(spread: Any, y: int, x: int) -> Any:
    """Return the least variance of 5 × 5 pixels."""
    least = spread[y, x]
    for v in range(y - 2, y + 3):
        for u in range(x - 2, x + 3):
            least = min(least, spread[v, u])
    return max(least, _LEAST_VARIANCE)


@compiled
def clean_hits(clean: Any, spread: Any, state: Any, positions: Any, level: Any, level_variance: Any) -> tuple[Any, Any]:
    """Mark hits, and replace them and hits beside them by the median of what is good within 5 × 5 pixels.

    Returns the positions of the hits that are new, and of all that were replaced.
    """
    width = clean.shape[1]
    fresh = np.empty(len(positions), np.int64)
    new = 0
    for place in positions:
        if not state[place // width, place % width] & HIT:
            fresh[new] = place
            new += 1
    for place in fresh[:new]:
        state[place // width, place % width] |= HIT
    changed = np.empty(25 * new, np.int64)
    count = 0
    for place in fresh[:new]:
        y, x = place // width, place % width
        for v in range(y - 2, y + 3):
            for u in range(x - 2, x + 3):
                if state[v, u] & HIT and not state[v, u] & LISTED:
                    state[v, u] |= LISTED
                    changed[count] = v * width + u
                    count += 1
    changed = changed[:count]
    values, variances = np.empty(25, np.float32), np.empty(25, np.float32)
    for place in changed:
        y, x = place // width, place % width
        state[y, x] &= ~LISTED & 0xFF
        number = 0
        for v in range(y - 2, y + 3):
            for u in range(x - 2, x + 3):
                if not state[v, u] & (BAD | HIT):
                    values[number], variances[number] = clean[v, u], spread[v, u]
                    number += 1
        clean[y, x] = median_of_any(values, number) if number else level
        spread[y, x] = median_of_any(variances, number) if number else level_variance
    return fresh[:new], changed


@compiled
def mark_again(state: Any, changed: Any) -> None:
    """Mark all pixels within :data:`REACH` of those that changed, and no others."""
    height, width = state.shape
    for y in range(height):
        for x in range(width):
            state[y, x] &= ~AGAIN & 0xFF
    for place in changed:
        y, x = place // width, place % width
        for v in range(max(y - REACH, MARGIN), min(y + REACH + 1, height - MARGIN)):
            for u in range(max(x - REACH, MARGIN), min(x + REACH + 1, width - MARGIN)):
                if not state[v, u] & BAD:
                    state[v, u] |= AGAIN


@compiled
def medians_around(clean: Any, positions: Any) -> Any:
    """Return the median of the 5 × 5 pixels around each position."""
    width = clean.shape[1]
    values = np.empty(25, np.float32)
    medians = np.empty(len(positions), np.float32)
    for index in range(len(positions)):
        y, x = positions[index] // width, positions[index] % width
        number = 0
        for v in range(y - 2, y + 3):
            for u in range(x - 2, x + 3):
                values[number] = clean[v, u]
                number += 1
        medians[index] = median_of_odd(values, 25)
    return medians


@compiled
def group_touching(positions: Any, width: int) -> Any:
    """Return the number, from 0, of the group of touching (8-connected) pixels that each sorted position is in."""
    parent = np.arange(len(positions))
    for index in range(len(positions)):
        place = positions[index]
        for step in (1, width - 1, width, width + 1):
            other = np.searchsorted(positions, place + step)
            if other < len(positions) and positions[other] == place + step:
                one, two = index, other
                while parent[one] != one:
                    one = parent[one]
                while parent[two] != two:
                    two = parent[two]
                parent[max(one, two)] = min(one, two)
    group = np.empty(len(positions), np.int64)
    number = 0
    for index in range(len(positions)):
        root = index
        while parent[root] != root:
            root = parent[root]
        if root == index:
            group[index] = number
            number += 1
        else:
            group[index] = group[root]
        parent[index] = root
    return group


@warm_up
def _compile() -> None:
    shape = (12, 16)
    data = np.ones(shape, np.float32)
    data[5, 6] = 1000.0
    clean = np.empty((shape[0] + 2 * MARGIN, shape[1] + 2 * MARGIN), np.float32)
    spread, state = np.empty_like(clean), np.full(clean.shape, BAD, np.uint8)
    prepare(data, np.ones(shape, np.float32), np.zeros(shape, np.bool_), clean, spread, state, 0, shape[0])
    fill_bad(clean, spread, state, 3)
    mirror(clean)
    mirror(spread)
    for again in (False, True):
        found = find_hits(clean, spread, state, MARGIN, MARGIN + shape[0], np.float32(4.5), np.float32(1.35),
                          np.float32(5), again)  # fmt: skip
        _, changed = clean_hits(clean, spread, state, np.unique(found), np.float32(1), np.float32(1))
        mark_again(state, changed)
    medians_around(clean, np.array([200]))
    group_touching(np.array([3, 4, 40]), 16)
