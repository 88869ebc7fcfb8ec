from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    import mechwidgets as mw


@pytest.fixture(scope="session")
def smollm2() -> mw.HookedModel:
    """The default model; a machine without it fails with the command that gets it."""
    import mechwidgets as mw

    return mw.HookedModel.from_pretrained("smollm2-135m")
