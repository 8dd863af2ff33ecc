# SPDX-License-Identifier: MIT
"""Fixtures that every test module may use."""

from pathlib import Path

import pytest

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real recordings and community models beside the checkout."""
    if not SHARED_DATA.is_dir():
        pytest.skip(f"the real recordings are not here: no folder {SHARED_DATA}")
    return SHARED_DATA
