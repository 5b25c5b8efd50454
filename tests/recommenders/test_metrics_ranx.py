"""The same figures from an independent library, on random lists."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numba
import numpy as np
import pytest
from scipy import sparse

from recommenders import metrics

if TYPE_CHECKING:
    from collections.abc import Iterator

N_USERS, N_ITEMS, DEPTH = 60, 50, 40
CUTOFFS = (1, 5, 20, 40)


@pytest.fixture(scope="module")
def ranx() -> Iterator[Any]:
    """The library without compilation, which would take longer than all tests of this room."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(numba.config, "DISABLE_JIT", True)
        import ranx

        yield ranx


@pytest.mark.parametrize("seed", range(3))
def test_metrics_agree_with_ranx(ranx: Any, seed: int) -> None:
    rng = np.random.default_rng(seed)
    ranked = rng.permuted(np.tile(np.arange(N_ITEMS), (N_USERS, 1)), axis=1)[:, :DEPTH]
    mask = rng.random((N_USERS, N_ITEMS)) < rng.random((N_USERS, 1))  # from few to nearly all
    mask[np.arange(N_USERS), rng.integers(0, N_ITEMS, N_USERS)] = True
    mine = metrics.per_user(ranked, sparse.csr_array(mask.astype(np.float32)), CUTOFFS)

    names = [f"{user:03}" for user in range(N_USERS)]
    wanted = {
        name: {str(item): 1 for item in np.flatnonzero(row)}
        for name, row in zip(names, mask, strict=True)
    }
    lists = {
        name: {str(item): float(DEPTH - rank) for rank, item in enumerate(row)}
        for name, row in zip(names, ranked, strict=True)
    }
    theirs = ranx.evaluate(
        ranx.Qrels(wanted), ranx.Run(lists), list(mine), return_mean=False, make_comparable=True
    )
    assert set(theirs) == set(mine)
    for name, values in mine.items():
        np.testing.assert_allclose(values, theirs[name], rtol=0, atol=1e-9, err_msg=name)
