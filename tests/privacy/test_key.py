"""A key is made once, is read by its owner only and is not shown."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from aimed.core.errors import RefusedError
from aimed.privacy.key import make_key, read_key


def test_a_key_is_made_private_and_read_again(tmp_path: Path) -> None:
    key = read_key(tmp_path / "k", make=True)
    assert len(key) == 32
    assert read_key(tmp_path / "k") == key
    assert stat.S_IMODE((tmp_path / "k").stat().st_mode) == 0o600
    assert make_key(tmp_path / "k2") != key


def test_a_key_is_never_written_over(tmp_path: Path) -> None:
    make_key(tmp_path / "k")
    with pytest.raises(RefusedError):
        make_key(tmp_path / "k")


@pytest.mark.parametrize("content", ["", "00ff", "zz" * 32, "00" * 32, "a" * 63, "\u00e9" * 40])
def test_bad_keys_are_refused_without_being_quoted(tmp_path: Path, content: str) -> None:
    path = tmp_path / "k"
    path.write_text(content, "utf-8")
    path.chmod(0o600)
    with pytest.raises(RefusedError) as error:
        read_key(path)
    assert not content or content not in str(error.value)


def test_no_key_open_keys_and_links_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RefusedError):
        read_key(tmp_path / "absent")
    make_key(tmp_path / "k")
    os.symlink(tmp_path / "k", tmp_path / "l")
    with pytest.raises(RefusedError):
        read_key(tmp_path / "l")
    (tmp_path / "k").chmod(0o644)
    with pytest.raises(RefusedError):
        read_key(tmp_path / "k")
