"""Detection of sources as SExtractor does it (Bertin & Arnouts 1996, A&AS 117, 393), by its library form ``sep``."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from recipes.errors import FatalError
from recipes.frame import FloatArray

# SExtractor's default.conv: a pyramid of FWHM 2 pixels.
DEFAULT_KERNEL = np.array([[1, 2, 1], [2, 4, 2], [1, 2, 1]], dtype=np.float32)
_SUB_OBJECTS = 16384  # of one blend; sep's own limit of 1024 is too low for globular clusters
_LEAST_STACK = 300_000


def extract(
    signal: FloatArray,
    threshold: float,
    *,
    noise: FloatArray,
    bad: NDArray[np.bool_] | None = None,
    gain: float | None = None,
    minimum_area: int = 5,
    kernel: NDArray[np.float32] | None = None,
    deblend_levels: int = 32,
    deblend_contrast: float = 0.005,
) -> tuple[NDArray[Any], NDArray[np.int32]]:
    """Find sources in a sky-subtracted image.

    Parameters
    ----------
    signal : array
        Sky-subtracted pixels, float32 and contiguous.
    threshold : float
        In units of the noise.
    noise : array
        Noise of the sky in each pixel.
    bad : array of bool, optional
        Pixels to leave out.
    gain : float, optional
        Electrons for each unit of `signal`, for the errors of the positions.
    minimum_area : int
        Pixels above the threshold that make a source.
    kernel : array, optional
        Filter for the detection; None for none.
    deblend_levels, deblend_contrast : int, float
        Of the deblending.

    Returns
    -------
    sources : structured array
        As ``sep.extract`` gives them.
    segmentation : array of int32
        Number (from 1) of the source that each pixel belongs to, 0 of none.

    Raises
    ------
    FatalError
        The frame is more crowded than can be handled.
    """
    import sep

    options: dict[str, Any] = {"err": noise, "minarea": minimum_area, "filter_kernel": kernel, "filter_type": "conv",
                               "deblend_nthresh": deblend_levels, "deblend_cont": deblend_contrast,
                               "segmentation_map": True}  # fmt: skip
    if bad is not None and bad.any():
        options["mask"] = bad
    if gain is not None:
        options["gain"] = gain
    sep.set_sub_object_limit(_SUB_OBJECTS)
    stack = max(_LEAST_STACK, signal.size // 8)
    while True:
        sep.set_extract_pixstack(stack)
        try:
            sources, segmentation = sep.extract(signal, threshold, **options)
        except Exception as error:  # noqa: BLE001 - sep raises bare Exception; what is not its limit is raised again
            if "pixel buffer" not in str(error):
                raise FatalError(f"the detection of sources failed: {error}",
                                 hint="raise the threshold or the contrast of the deblending") from None  # fmt: skip
            if stack > signal.size:
                raise FatalError("the frame is too crowded to tell sources apart", hint="raise the threshold") from None
            stack *= 4
            continue
        return sources, segmentation
