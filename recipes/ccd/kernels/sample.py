"""Kernels of one sample's statistics: order statistics by selection, and the median-centred clip built on them.

A large sample is never sorted or copied: a few of its values tell between which two an order statistic lies, one pass
counts what is below and collects what is between (Floyd & Rivest 1975, Commun. ACM 18, 165), and only that is
partitioned.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from recipes.ccd.kernels.compiled import compiled, warm_up

MAD_TO_SIGMA = 1.4826  # of a Gaussian: 1 / Phi^-1(3/4)
# The pilot sample has some 2/3 power of the whole number of values, from so few to so many (Floyd & Rivest).
_FEWEST, _MOST = 256, 4096
# Largest finite number of float32: what is beyond is no number, and is passed over by every comparison.
_LARGEST = float(np.finfo(np.float32).max)
# Sums are taken in so many lanes, one after the other, whatever the processor's width: bytes do not depend on it.
_LANES = 64


@compiled
def partition(buffer: Any, first: int, end: int, wanted: int) -> float:
    """Return the value of rank `wanted` of buffer[first:end], which is left partitioned about that place."""
    low, high = first, end - 1
    while low < high:
        pivot = buffer[(low + high) // 2]
        i, j = low, high
        while i <= j:
            while buffer[i] < pivot:
                i += 1
            while buffer[j] > pivot:
                j -= 1
            if i <= j:
                buffer[i], buffer[j] = buffer[j], buffer[i]
                i += 1
                j -= 1
        if wanted <= j:
            high = j
        elif wanted >= i:
            low = i
        else:
            break
    return np.float64(buffer[wanted])


@compiled
def middle(buffer: Any, first: int, end: int, below: int, above: int) -> float:
    """Return the mean of the values of two ranks (`above` the same or the next one), counted from `first`."""
    low = partition(buffer, first, end, first + below)
    if above == below:
        return low
    high = np.float64(buffer[first + above])
    for place in range(first + above, end):
        high = min(high, np.float64(buffer[place]))
    return 0.5 * (low + high)


@compiled
def median_of(buffer: Any, number: int) -> float:
    """Return the median of the first values of a buffer, whose order changes; NaN of none."""
    if number == 0:
        return np.nan
    return middle(buffer, 0, number, (number - 1) // 2, number // 2)


@compiled
def _count(values: Any, good: Any, centre: Any, absolute: bool, low: Any, high: Any) -> tuple[int, int]:
    """Return how many keys (values, or their distances from the centre) are below `low`, and how many up to `high`."""
    below, within = 0, 0
    if good.shape[0]:
        for place in range(values.shape[0]):
            key = abs(values[place] - centre) if absolute else values[place]
            below += good[place] & (key < low)
            within += good[place] & (key >= low) & (key <= high)
    elif absolute:
        for place in range(values.shape[0]):
            key = abs(values[place] - centre)
            below += key < low
            within += (key >= low) & (key <= high)
    else:
        for place in range(values.shape[0]):
            key = values[place]
            below += key < low
            within += (key >= low) & (key <= high)
    return below, within


@compiled
def _collect(values: Any, good: Any, centre: Any, absolute: bool, low: Any, high: Any, found: Any) -> None:
    """Fill `found`, which has a place to spare, with the keys from `low` to `high`."""
    some = good.shape[0] > 0
    number = 0
    for place in range(values.shape[0]):
        key = abs(values[place] - centre) if absolute else values[place]
        wanted = (key >= low) & (key <= high)
        if some:
            wanted &= good[place]
        # Written in any case: a branch that cannot be foretold costs more.
        found[number] = key
        number += wanted


@compiled
def _pilot(values: Any, good: Any) -> Any:
    """Return some of the values, sorted."""
    some = good.shape[0] > 0
    size = values.shape[0]
    step = max(1, size // max(_FEWEST, min(_MOST, int(size ** (2 / 3))))) | 1
    found = np.empty(size // step + 1, values.dtype)
    number = 0
    for place in range(0, size, step):
        if abs(values[place]) <= _LARGEST and (not some or good[place]):
            found[number] = values[place]
            number += 1
    return np.sort(found[:number])


@compiled
def _distances(pilot: Any, centre: Any) -> Any:
    """Return the distances of sorted values from `centre`, sorted: those below and those above, merged."""
    number = len(pilot)
    found = np.empty(number, pilot.dtype)
    above = np.searchsorted(pilot, centre)
    below = above - 1
    for place in range(number):
        if above >= number or (below >= 0 and centre - pilot[below] <= pilot[above] - centre):
            found[place] = centre - pilot[below]
            below -= 1
        else:
            found[place] = pilot[above] - centre
            above += 1
    while number > 0 and not found[number - 1] <= _LARGEST:
        number -= 1
    return found[:number]


@compiled
def _bracket(
    values: Any, good: Any, number: int, centre: Any, absolute: bool, below: int, above: int, pilot: Any
) -> tuple[Any, int, int]:
    """Return keys that hold those of two ranks of all `number`, how many are less, and how many they are.

    Where they are all equal only one is returned, and else a place to spare.
    """
    least, largest = values.dtype.type(-_LARGEST), values.dtype.type(_LARGEST)
    low, high = least, largest
    if number > _FEWEST:
        at = min(below / number, 1.0) * len(pilot)
        margin = 1.5 * np.sqrt(len(pilot)) + 1
        if at - margin >= 0:
            low = pilot[int(at - margin)]
        if at + margin < len(pilot) - 1:
            high = pilot[int(at + margin) + 1]
    while True:
        less, within = _count(values, good, centre, absolute, low, high)
        if below < less and low > least:
            low = least
        elif above >= less + within and high < largest:
            high = largest
        else:
            break
    if low == high:
        return np.full(1, low, values.dtype), less, within
    found = np.empty(within + 1, values.dtype)
    _collect(values, good, centre, absolute, low, high, found)
    return found, less, within


@compiled
def _of_ranks(found: Any, less: int, within: int, below: int, above: int) -> float:
    """Return the mean of the keys of two ranks (`above` the same or the next one) that a bracket holds."""
    if within == 0:
        return np.inf  # all distances are beyond what the type can tell
    if len(found) == 1:
        return np.float64(found[0])
    below, above = max(min(below, less + within - 1), less), max(min(above, less + within - 1), less)
    return middle(found, 0, within, below - less, above - less)


@compiled
def _select(
    values: Any, good: Any, number: int, centre: Any, absolute: bool, below: int, above: int, pilot: Any
) -> float:
    """Return the mean of the keys of two ranks (`above` the same or the next one) of all `number`."""
    found, less, within = _bracket(values, good, number, centre, absolute, below, above, pilot)
    return _of_ranks(found, less, within, below, above)


@compiled
def _moments(values: Any, good: Any, low: float, high: float, centre: float) -> tuple[int, int, float, float]:
    """Return how many values are below `low`, how many up to `high`, and sum and squares of these about `centre`."""
    sums, squares = np.zeros(_LANES), np.zeros(_LANES)
    numbers, belows = np.zeros(_LANES, np.int64), np.zeros(_LANES, np.int64)
    some = good.shape[0] > 0
    size = values.shape[0]
    for start in range(0, size, _LANES):
        width = min(_LANES, size - start)
        part = values[start : start + width]
        wanted = good[start : start + width]
        for lane in range(width):
            value = np.float64(part[lane])
            inside = (value >= low) & (value <= high)
            below = value < low
            if some:
                inside &= wanted[lane]
                below &= wanted[lane]
            deviation = value - centre if inside else 0.0
            numbers[lane] += inside
            belows[lane] += below
            sums[lane] += deviation
            squares[lane] += deviation * deviation
    total, square, number, below_all = 0.0, 0.0, 0, 0
    for lane in range(_LANES):
        total += sums[lane]
        square += squares[lane]
        number += numbers[lane]
        below_all += belows[lane]
    return below_all, number, total, square


@compiled
def _least_step(pilot: Any) -> float:
    """Return the least difference of sorted values that are not equal; 0 where all are."""
    least = np.inf
    for place in range(1, len(pilot)):
        step = pilot[place] - pilot[place - 1]
        if 0 < step < least:
            least = step
    return least if least < np.inf else 0.0


@compiled
def clipped(values: Any, good: Any, threshold: float, iterations: int) -> tuple[float, float, float, int]:
    """Return median, mean, standard deviation and number of what the clip leaves of a large sample.

    Parameters
    ----------
    values : array, one axis
        Sample.
    good : array of bool of that length, or empty
        Which of them count; all where it is empty.
    threshold, iterations : float, int
        See :func:`recipes.ccd.clipping.clipped_statistics`.
    """
    zero = values.dtype.type(0)
    # Ranks count what is minus infinity too, of which there are so many.
    under, number = _count(values, good, zero, False, values.dtype.type(-_LARGEST), values.dtype.type(_LARGEST))
    if number == 0:
        return np.nan, np.nan, np.nan, 0
    pilot = _pilot(values, good)
    ranks = under + (number - 1) // 2, under + number // 2
    bracket, less, within = _bracket(values, good, number, zero, False, ranks[0], ranks[1], pilot)
    median = _of_ranks(bracket, less, within, ranks[0], ranks[1])
    about = values.dtype.type(median)
    distances = _distances(pilot, about)
    deviation = _select(values, good, number, about, True, (number - 1) // 2, number // 2, distances)
    # Numbers that come in steps have a MAD of whole steps, or none, which may be half a step too small: a first cut
    # that eats in is never made good.
    step = _least_step(pilot)
    sigma = max(MAD_TO_SIGMA * (deviation + 0.5 * step), step)
    low, high, kept = -_LARGEST, _LARGEST, number
    _, _, total, square = _moments(values, good, low, high, median)
    if sigma == 0:
        sigma = np.sqrt(max(square / number - (total / number) ** 2, 0.0))
    for _ in range(iterations):
        low, high = max(low, median - threshold * sigma), min(high, median + threshold * sigma)
        below, left, total, square = _moments(values, good, low, high, median)
        if left == kept:
            break
        kept = left
        centre = median
        ranks = below + (kept - 1) // 2, below + kept // 2
        if ranks[0] < less or ranks[1] >= less + within:  # of a clip that takes little away it is the same
            bracket, less, within = _bracket(values, good, number, zero, False, ranks[0], ranks[1], pilot)
        median = _of_ranks(bracket, less, within, ranks[0], ranks[1])
        shift = median - centre
        sigma = np.sqrt(max((square - 2 * shift * total) / kept + shift * shift, 0.0))
        total, square = total - kept * shift, square - 2 * shift * total + kept * shift * shift
    offset = total / kept
    return median, median + offset, np.sqrt(max(square / kept - offset * offset, 0.0)), kept


@compiled
def median_of_sample(values: Any, good: Any) -> float:
    """Return the median of the good and finite values of a sample, NaN of none."""
    zero = values.dtype.type(0)
    under, number = _count(values, good, zero, False, values.dtype.type(-_LARGEST), values.dtype.type(_LARGEST))
    if number == 0:
        return np.nan
    pilot = _pilot(values, good)
    return _select(values, good, number, zero, False, under + (number - 1) // 2, under + number // 2, pilot)


@compiled
def clipped_counts(counts: Any, first: int, threshold: float, iterations: int) -> tuple[float, float, float, int]:
    """Return the same of whole numbers from `first` on, of which `counts` tells how often each comes."""
    number, total = 0, 0.0
    for place in range(len(counts)):
        number += counts[place]
        total += np.float64(counts[place]) * (first + place)
    if number == 0:
        return np.nan, np.nan, np.nan, 0
    median = _middle_of_counts(counts, 0, len(counts), number)
    distances = np.zeros(2 * len(counts), np.int64)  # in halves
    for place in range(len(counts)):
        distances[int(abs(2 * (place - median)))] += counts[place]
    step = _step_of_counts(counts)
    sigma = max(MAD_TO_SIGMA * 0.5 * (_middle_of_counts(distances, 0, len(distances), number) + step), step)
    low, end, kept = 0, len(counts), number
    mean, spread = _moments_of_counts(counts, low, end, kept)
    sigma = sigma if sigma > 0 else spread
    for _ in range(iterations):
        low = max(low, int(np.ceil(median - threshold * sigma)))
        end = min(end, int(np.floor(median + threshold * sigma)) + 1)
        left = 0
        for place in range(low, end):
            left += counts[place]
        if left == kept:
            break
        kept = left
        median = _middle_of_counts(counts, low, end, kept)
        mean, spread = _moments_of_counts(counts, low, end, kept)
        sigma = np.sqrt(spread**2 + (mean - median) ** 2)
    return first + median, first + mean, spread, kept


@compiled
def _middle_of_counts(counts: Any, low: int, end: int, number: int) -> float:
    """Return the median place of `number` whole numbers that are counted."""
    below, first = 0, -1
    for place in range(low, end):
        below += counts[place]
        if first < 0 and below > (number - 1) // 2:
            first = place
        if below > number // 2:
            return 0.5 * (first + place)
    return np.float64(first)


@compiled
def _moments_of_counts(counts: Any, low: int, end: int, number: int) -> tuple[float, float]:
    total = 0.0
    for place in range(low, end):
        total += np.float64(counts[place]) * place
    mean = total / number
    square = 0.0
    for place in range(low, end):
        square += np.float64(counts[place]) * (place - mean) ** 2
    return mean, np.sqrt(square / number)


@compiled
def _step_of_counts(counts: Any) -> float:
    least, before = np.inf, -1
    for place in range(len(counts)):
        if counts[place]:
            if before >= 0 and place - before < least:
                least = place - before
            before = place
    return np.float64(least) if least < np.inf else 0.0


@compiled
def gather(image: Any, good: Any, y0: int, y1: int, x0: int, x1: int, found: Any) -> int:
    """Fill `found` with the good and finite pixels of a window; return their number."""
    some = good.shape[0] > 0
    number, width = 0, x1 - x0
    for y in range(y0, y1):
        row, part = image[y, x0:x1], found[number : number + width]
        wanted = 0
        for x in range(width):
            part[x] = row[x]
            wanted += abs(row[x]) < np.inf
        if wanted == width and not some:
            number += width
            continue
        for x in range(width):
            if (not some or good[y, x0 + x]) and abs(row[x]) < np.inf:
                found[number] = row[x]
                number += 1
    return number


@compiled
def clipped_window(image: Any, good: Any, y0: int, y1: int, x0: int, x1: int, threshold: float, iterations: int) -> Any:
    """Return median, mean, standard deviation and number of what a clip leaves of a window's good pixels."""
    found = np.empty((y1 - y0) * (x1 - x0), image.dtype)
    number = gather(image, good, y0, y1, x0, x1, found)
    return clipped(found[:number], np.zeros(0, np.bool_), threshold, iterations)


@warm_up
def warm() -> None:
    """Compile for images of float32 and of float64, masked or not."""
    for dtype in (np.float32, np.float64):
        image = np.ones((2, 2), dtype)
        for good in (np.zeros((0, 0), np.bool_), np.ones((2, 2), np.bool_)):
            clipped_window(image, good, 0, 2, 0, 2, 5.0, 5)
            clipped(image.ravel(), good.ravel(), 5.0, 5)
            median_of_sample(image.ravel(), good.ravel())
    clipped_counts(np.ones(3, np.int64), 0, 5.0, 5)
