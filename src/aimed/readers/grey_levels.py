"""From stored numbers to grey levels on a screen: modality table, window, padding and inversion in one table."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aimed.core.image import Grey, ImageRefused
from aimed.readers.dicom_header import Header

__all__ = ["Storage", "Transfer", "bits_in_use", "storage", "transfer"]

Values = NDArray[np.float64]

SMALLEST_SHARE = 1 / 16
"""Without a window the darkest and lightest pixel span the grey levels, if they span this much of the bits in use."""


@dataclass(frozen=True, slots=True)
class Storage:
    """How one pixel is stored: `bits` of it, `shift` bits from the right, maybe with a sign."""

    allocated: int
    bits: int
    shift: int
    signed: bool

    @property
    def codes(self) -> NDArray[np.int64]:
        """The value of each bit pattern, shape (2**bits,)."""
        pattern = np.arange(2**self.bits, dtype=np.int64)
        return np.where(pattern >= 2 ** (self.bits - 1), pattern - 2**self.bits, pattern) if self.signed else pattern

    def patterns(self, stored: Grey) -> Grey:
        """Return the bit patterns of raw pixels: without overlays in unused bits, without the shift."""
        if self.shift:
            stored = stored >> self.shift
        return stored if self.bits + self.shift == self.allocated else stored & (2**self.bits - 1)


@dataclass(frozen=True, slots=True)
class Transfer:
    """A grey level for each bit pattern.

    Parameters
    ----------
    table : uint8 or uint16 array, shape (2**bits,)
    scaling : str
        See `aimed.core.image.ImageInfo`.
    straight : bool
        Whether grey levels are the stored values or their mirror image, so that shrinking may come first.
    """

    table: Grey
    scaling: str
    straight: bool


def storage(header: Header) -> Storage:
    """Return how pixels are stored, after checking that the numbers fit each other."""
    allocated = header.short("BitsAllocated")
    bits = header.short("BitsStored", allocated)
    if allocated is None or bits is None:
        raise ImageRefused("SIZE_LIES", "BitsAllocated is absent")
    if allocated not in (8, 16):
        raise ImageRefused("NOT_RADIOGRAPH", f"{allocated} bits a pixel")
    high = header.short("HighBit", bits - 1)
    sign = header.short("PixelRepresentation", 0)
    if high is None or not 2 <= bits <= allocated or not bits - 1 <= high < allocated or sign not in (0, 1):
        raise ImageRefused("SIZE_LIES", "BitsStored, HighBit and BitsAllocated do not fit")
    return Storage(allocated, bits, high - bits + 1, sign == 1)


def bits_in_use(top: int) -> int:
    """Return the fewest usual bits that hold the largest pixel, since many files of 16 bits hold fewer.

    Parameters
    ----------
    top : int
        Below ``2**16``.

    Examples
    --------
    >>> bits_in_use(4014), bits_in_use(3), bits_in_use(4096)
    (12, 10, 14)
    """
    return next(bits for bits in (10, 12, 14, 16) if top < 2**bits)


def _table(item: Header, signed: bool, name: str) -> tuple[Values, int, float]:
    """Return the entries of a look-up table, the input of its first entry and its largest possible output."""
    length, first, depth = [*item.shorts("LUTDescriptor"), 0, 0, 0][:3]
    if signed and first >= 2**15:
        first -= 2**16
    length = length or 2**16
    content = item.content("LUTData") or b""
    if not 8 <= depth <= 16:
        raise ImageRefused("BAD_NUMBER", name)
    if depth == 8 and len(content) in (length, length + 1):
        entries = np.frombuffer(content, np.uint8)[:length]
    elif len(content) == 2 * length:
        entries = np.frombuffer(content, "<u2" if item.little_endian("LUTData") else ">u2")
    else:
        raise ImageRefused("SIZE_LIES", name)
    if int(entries.max()) >= 2**depth:
        raise ImageRefused("BAD_NUMBER", name)
    return entries.astype(np.float64), first, float(2**depth - 1)


def _modality(header: Header, values: Values, signed: bool) -> tuple[Values, bool]:
    """Return values after the modality table or rescaling, and whether they lie on a line."""
    for item in header.items("ModalityLUTSequence"):
        entries, first, _ = _table(item, signed, "ModalityLUTSequence")
        at = np.clip(values - first, 0, entries.size - 1).astype(np.intp)
        return entries[at], False
    slope = header.number("RescaleSlope", 1.0)
    if not 1e-9 <= abs(slope) <= 1e9:
        raise ImageRefused("BAD_NUMBER", "RescaleSlope")
    return values * slope + header.number("RescaleIntercept", 0.0), True


def _window(header: Header, x: Values) -> Values | None:
    """Return the share of white by the first window, PS3.3 C.11.2.1.2 and C.11.2.1.3."""
    center, width = header.numbers("WindowCenter"), header.numbers("WindowWidth")
    if not center and not width:
        return None
    if not center or not width:
        raise ImageRefused("BAD_NUMBER", "WindowCenter without WindowWidth, or the reverse")
    c, w = center[0], width[0]
    function = header.word("VOILUTFunction") or "LINEAR"
    if function not in ("LINEAR", "LINEAR_EXACT", "SIGMOID"):
        raise ImageRefused("BAD_NUMBER", "VOILUTFunction")
    if w < 1 if function == "LINEAR" else w <= 0:
        raise ImageRefused("BAD_NUMBER", "WindowWidth")
    if function == "SIGMOID":
        # Beyond 700 the exponential overflows, and the answer is 0 or 1 to the last digit.
        return np.asarray(1 / (1 + np.exp(np.clip(-4 * (x - c) / w, -700, 700))))
    if function == "LINEAR":
        c, w = c - 0.5, w - 1
        if w == 0:
            return np.where(x <= c, 0.0, 1.0)
    return np.clip((x - c) / w + 0.5, 0.0, 1.0)


def _is_padding(header: Header, store: Storage) -> NDArray[np.bool_]:
    low = header.short("PixelPaddingValue", signed=store.signed)
    codes = store.codes
    if low is None:
        return np.zeros(codes.size, dtype=bool)
    limit = header.short("PixelPaddingRangeLimit", low, signed=store.signed)
    other = low if limit is None else limit
    return (codes >= min(low, other)) & (codes <= max(low, other))


def transfer(header: Header, store: Storage, patterns: Grey, inverted: bool, bits: int) -> Transfer:
    """Return the grey level of each bit pattern.

    Parameters
    ----------
    header : Header
    store : Storage
    patterns : array, shape (y, x)
        Needed for its darkest and lightest pixel when the file has no window.
    inverted : bool
        Whether large values are dark.
    bits : {8, 16}
        White is ``2**bits - 1``.

    Returns
    -------
    Transfer

    Raises
    ------
    ImageRefused
        BAD_NUMBER or SIZE_LIES.

    Notes
    -----
    The order of PS3.4 N.2: modality table or rescaling, then the first VOI table, else the first window, else a
    straight line. That line spans the stored range for 8 bits or fewer; above, from the darkest to the lightest pixel
    that is not padding, unless these span less than a sixteenth of the bits in use, so that an empty frame stays dark.
    Inversion comes last, and padding is black in the end.
    """
    codes = store.codes.astype(np.float64)
    x, linear = _modality(header, codes, store.signed)
    padding = _is_padding(header, store)
    share, scaling = None, "window"
    for item in header.items("VOILUTSequence"):
        entries, first, white = _table(item, bool(x.min() < 0), "VOILUTSequence")
        share, scaling = entries[np.clip(np.rint(x) - first, 0, entries.size - 1).astype(np.intp)] / white, "voi_lut"
        break
    if share is None:
        share = _window(header, x)
    straight = False
    if share is None:
        low, high, scaling = float(x.min()), float(x.max()), "stored_range"
        if store.bits > 8:
            seen = _used(patterns, padding, linear and not store.signed)
            used, bits_held = x[seen], store.bits
            if linear and not store.signed and seen.size:
                # Many files say 16 bits and hold 12; fewer than 12 are no sign of it, an empty frame has few as well.
                bits_held = min(store.bits, max(12, bits_in_use(int(seen.max()))))
            if used.size and np.ptp(used) >= SMALLEST_SHARE * np.ptp(x[: 2**bits_held]):
                low, high, scaling = float(used.min()), float(used.max()), "extremes"
        share = np.clip((x - low) / (high - low), 0.0, 1.0) if high > low else np.zeros_like(x)
        straight = linear and store.bits == bits == 8 and not padding.any() and not store.signed and x[-1] > x[0]
    if inverted:
        share = 1.0 - share
    share = np.where(padding, 0.0, share)
    table = np.floor(share * (2**bits - 1) + 0.5).astype(np.uint8 if bits == 8 else np.uint16)
    return Transfer(table, scaling, straight)


def _used(patterns: Grey, padding: NDArray[np.bool_], monotone: bool) -> NDArray[np.intp]:
    """Return the bit patterns that decide about the extremes."""
    if monotone and not padding.any():
        # Two passes without a copy instead of a histogram.
        return np.asarray([patterns.min(), patterns.max()], dtype=np.intp)
    return np.flatnonzero((np.bincount(patterns.ravel(), minlength=padding.size) > 0) & ~padding)
