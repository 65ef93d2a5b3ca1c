"""What every opened bundle has, whatever its model reads: the manifest, verified files, a name for this model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aimed.core import BundleError

__all__ = ["Sealed"]


class Sealed:
    """A manifest and the files beside the model, as they were verified.

    Parameters
    ----------
    manifest : mapping
    members : mapping of str to bytes

    Attributes
    ----------
    digest : str
        SHA-256 of the manifest, which holds the hash of every other member; names this very model.
    """

    def __init__(self, manifest: Mapping[str, Any], members: Mapping[str, bytes] | None = None) -> None:
        self.manifest = manifest
        self._members = dict(members or {})
        self.digest = str(manifest.get("checksum", ""))

    @property
    def card(self) -> str:
        """The text of README.md, or nothing when the bundle has none."""
        return self.member("README.md").decode("utf-8", errors="replace") if "README.md" in self._members else ""

    @property
    def members(self) -> tuple[str, ...]:
        """Names of the files beside the model."""
        return tuple(sorted(self._members))

    def member(self, name: str) -> bytes:
        """Return the verified bytes of a file.

        Raises
        ------
        BundleError
            If there is no such member.
        """
        try:
            return self._members[name]
        except KeyError:
            raise BundleError("no such member", f"one of: {', '.join(self.members)}") from None
