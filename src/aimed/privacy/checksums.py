"""Check digits: tell a real social security, card, bank, vehicle, device or health number from mere digits."""

from __future__ import annotations

import ipaddress
import re
from typing import Final

__all__ = [
    "dea_ok",
    "dni_ok",
    "gs1_ok",
    "iban_ok",
    "ipv4_ok",
    "ipv6_ok",
    "luhn_ok",
    "nhs_ok",
    "npi_ok",
    "ssn_ok",
    "vin_ok",
]

_DOUBLED: Final = (0, 2, 4, 6, 8, 1, 3, 5, 7, 9)
_VIN_VALUES: Final = {c: int(d) for c, d in zip("ABCDEFGHJKLMNPRSTUVWXYZ", "12345678123457923456789", strict=True)} | {
    str(d): d for d in range(10)
}
_VIN_WEIGHTS: Final = (8, 7, 6, 5, 4, 3, 2, 10, 0, 9, 8, 7, 6, 5, 4, 3, 2)
_ASCII_DIGITS: Final = re.compile(r"[0-9]+")


def _digits(text: str) -> str:
    return "".join(_ASCII_DIGITS.findall(text))


def luhn_ok(text: str) -> bool:
    """Check the last digit by the Luhn formula (ISO/IEC 7812-1); anything that is no digit is ignored.

    Examples
    --------
    >>> luhn_ok("4111 1111 1111 1111"), luhn_ok("4111 1111 1111 1112")
    (True, False)
    """
    digits = _digits(text)
    total = sum(int(d) for d in digits[-1::-2]) + sum(_DOUBLED[int(d)] for d in digits[-2::-2])
    return len(digits) > 1 and total % 10 == 0


def npi_ok(text: str) -> bool:
    """Check a National Provider Identifier: ten digits, 1 or 2 first, Luhn with the prefix 80840.

    Examples
    --------
    >>> npi_ok("1234567893"), npi_ok("1234567890")
    (True, False)
    """
    digits = _digits(text)
    return len(digits) == 10 and digits[0] in "12" and luhn_ok("80840" + digits)


def ssn_ok(text: str) -> bool:
    """Check the area, group and serial of a United States social security number.

    Area 000, 666 and 900-999, group 00 and serial 0000 were never given; nor were the numbers of advertisements.

    Examples
    --------
    >>> ssn_ok("123-45-6789"), ssn_ok("666-45-6789"), ssn_ok("123-00-6789")
    (True, False, False)
    """
    d = _digits(text)
    return len(d) == 9 and d[:3] not in ("000", "666") and d[0] != "9" and d[3:5] != "00" and d[5:] != "0000"


def iban_ok(text: str) -> bool:
    """Check an international bank account number by ISO 13616 (mod 97).

    Examples
    --------
    >>> iban_ok("GB82 WEST 1234 5698 7654 32"), iban_ok("GB82 WEST 1234 5698 7654 33")
    (True, False)
    """
    packed = text.replace(" ", "").replace("-", "").upper()
    if not (15 <= len(packed) <= 34 and packed.isascii() and packed.isalnum()):
        return False
    if not (packed[:2].isalpha() and packed[2:4].isdigit()):
        return False
    return int("".join(str(int(c, 36)) for c in packed[4:] + packed[:4])) % 97 == 1


def nhs_ok(text: str) -> bool:
    """Check a number of the National Health Service: ten digits, mod 11.

    Examples
    --------
    >>> nhs_ok("943 476 5919"), nhs_ok("943 476 5918")
    (True, False)
    """
    digits = _digits(text)
    if len(digits) != 10:
        return False
    rest = 11 - sum(int(d) * (10 - i) for i, d in enumerate(digits[:9])) % 11
    return rest != 10 and rest % 11 == int(digits[9])


def dea_ok(text: str) -> bool:
    """Check a registration number of the Drug Enforcement Administration: two letters, six digits, one check digit.

    Examples
    --------
    >>> dea_ok("AB1234563"), dea_ok("AB1234564")
    (True, False)
    """
    if len(text) != 9 or not text.isascii() or not text[0].isalpha() or not text[2:].isdigit():
        return False
    d = [int(c) for c in text[2:]]
    return (text[1].isalpha() or text[1] == "9") and (d[0] + d[2] + d[4] + 2 * (d[1] + d[3] + d[5])) % 10 == d[6]


def vin_ok(text: str) -> bool:
    """Check a vehicle identification number of North America: seventeen characters, the ninth a check digit.

    Examples
    --------
    >>> vin_ok("1M8GDM9AXKP042788"), vin_ok("1M8GDM9A1KP042788")
    (True, False)
    """
    packed = text.upper()
    if len(packed) != 17 or any(c not in _VIN_VALUES for c in packed):
        return False
    rest = sum(_VIN_VALUES[c] * w for c, w in zip(packed, _VIN_WEIGHTS, strict=True)) % 11
    return packed[8] == ("X" if rest == 10 else str(rest))


def gs1_ok(text: str) -> bool:
    """Check the last digit of a GS1 number (GTIN-8, -12, -13, -14, as in a unique device identifier).

    Examples
    --------
    >>> gs1_ok("00643169007222"), gs1_ok("00643169007223")
    (True, False)
    """
    digits = _digits(text)
    if len(digits) not in (8, 12, 13, 14):
        return False
    total = sum(int(d) * (3 if i % 2 == 0 else 1) for i, d in enumerate(digits[-2::-1]))
    return (10 - total % 10) % 10 == int(digits[-1])


def dni_ok(text: str) -> bool:
    """Check the letter of a Spanish DNI or NIE (mod 23).

    Examples
    --------
    >>> dni_ok("12345678Z"), dni_ok("12345678A")
    (True, False)
    """
    packed = text.replace("-", "").replace(" ", "").upper()
    if len(packed) != 9 or not packed.isascii():
        return False
    number = packed[:8].replace("X", "0").replace("Y", "1").replace("Z", "2")
    return number.isdigit() and packed[8] == "TRWAGMYFPDXBNJZSQVHLCKE"[int(number) % 23]


def ipv4_ok(text: str) -> bool:
    """Tell whether this is four numbers of 0 to 255 with points between.

    Examples
    --------
    >>> ipv4_ok("192.168.0.1"), ipv4_ok("192.168.0.256")
    (True, False)
    """
    parts = text.split(".")
    return len(parts) == 4 and all(p.isascii() and p.isdigit() and len(p) <= 3 and int(p) <= 255 for p in parts)


def ipv6_ok(text: str) -> bool:
    """Tell whether this is an address of RFC 4291 with at least three groups, which no time of day has.

    Examples
    --------
    >>> ipv6_ok("2001:db8::ff00:42:8329"), ipv6_ok("12:30:45"), ipv6_ok("::")
    (True, False, False)
    """
    if sum(1 for g in text.split(":") if g) < 3:
        return False
    try:
        ipaddress.IPv6Address(text)
    except ValueError:
        return False
    return True
