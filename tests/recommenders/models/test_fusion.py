from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import sparse

from recommenders.models.base import Inputs
from recommenders.models.errors import ModelError
from recommenders.models.fusion import Fusion, FusionConfig, standardised

TRAIN = sparse.csr_array(np.array([[1, 1, 0], [0, 1, 0], [0, 0, 0]], np.float32))
TEXT = np.array([[1, 2], [3, 4], [5, 0]], np.float32)
PROFILES = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1]], np.float32)
INPUTS = Inputs(train=TRAIN, text=TEXT, item_profiles=PROFILES, user_profiles=PROFILES[::-1])


def fusion(inputs: Inputs = INPUTS, **options: object) -> Fusion:
    config = FusionConfig.model_validate({"embedding_size": 4} | options)
    return Fusion(inputs, config, torch.Generator().manual_seed(0))


@pytest.mark.parametrize("items", ["ids", "both"])
@pytest.mark.parametrize("variant", ["base", "augmented"])
def test_ids_of_new_users_and_items_are_never_read(items: str, variant: str) -> None:
    made = fusion(items=items, variant=variant)
    before = made.users(), made.items()
    with torch.no_grad():
        made.item_ids[2] += 100  # nobody chose it
        made.user_ids[2] += 100  # chose nothing
    torch.testing.assert_close((made.users(), made.items()), before)
    with torch.no_grad():
        made.item_ids[1] += 100
        made.user_ids[1] += 100
    assert not torch.equal(made.items()[1], before[1][1])
    assert not torch.equal(made.users()[1], before[0][1])


def test_an_item_of_ids_alone_that_nobody_chose_is_nothing() -> None:
    assert fusion(items="ids").items()[2].tolist() == [0] * 4


def test_an_items_features_have_length_one() -> None:
    for variant in ("base", "augmented"):
        made = fusion(variant=variant, fusion="add")
        torch.testing.assert_close(made.items().norm(dim=1), torch.ones(3))
        assert made.item_ids is None


def test_dropout_leaves_out_whole_ids_and_only_in_training() -> None:
    made = fusion(items="both", id_dropout=0.5)
    features = made.items() - made.item_ids * torch.tensor([[1.0], [1], [0]])
    rng = torch.Generator().manual_seed(0)
    seen = set()
    for _ in range(20):
        ids = made.items(rng) - features
        kept = ids.abs().sum(dim=1) > 1e-5
        torch.testing.assert_close(ids[kept], made.item_ids[kept])
        seen.add(tuple(kept.tolist()))
    assert seen == {
        (False, False, False),
        (False, True, False),
        (True, False, False),
        (True, True, False),
    }
    torch.testing.assert_close((made.items() - features)[:2], made.item_ids[:2])


def test_users_and_items_share_the_network_that_reads_profiles() -> None:
    made = fusion(variant="augmented", fusion="add")
    made.users().sum().backward()
    of_users = made.profile_network[0].weight.grad.clone()
    made.zero_grad()
    made.items()[:, 0].sum().backward()
    of_items = made.profile_network[0].weight.grad
    assert of_users.abs().sum() > 0
    assert of_items.abs().sum() > 0


def test_either_kind_of_profile_may_be_missing() -> None:
    base = fusion()
    only_items = fusion(Inputs(train=TRAIN, text=TEXT, item_profiles=PROFILES), variant="augmented")
    torch.testing.assert_close(only_items.users(), base.users())
    only_users = fusion(Inputs(train=TRAIN, text=TEXT, user_profiles=PROFILES), variant="augmented")
    assert only_users.users().shape == (3, 4)
    torch.testing.assert_close(only_users.items(), base.items())
    no_text = fusion(Inputs(train=TRAIN, item_profiles=PROFILES), variant="augmented")
    torch.testing.assert_close(no_text.items().norm(dim=1), torch.ones(3))


def test_profiles_of_two_encoders_are_refused() -> None:
    inputs = Inputs(train=TRAIN, text=TEXT, item_profiles=PROFILES, user_profiles=TEXT)
    with pytest.raises(ModelError, match=r"\[2, 3\] numbers"):
        fusion(inputs, variant="augmented")


def test_vectors_are_centred_and_scaled_and_rows_without_one_stay_zero() -> None:
    made = standardised(np.array([[1, 10], [3, 10], [0, 0]], np.float32))
    # The mean of the two rows that are there is (2, 10); the mean square of what is left is 1/2.
    root = 2**0.5
    np.testing.assert_allclose(made, [[-root, 0], [root, 0], [0, 0]], rtol=1e-6)
    assert not standardised(np.zeros((2, 2), np.float32)).any()
    assert not standardised(np.ones((2, 2), np.float32)).any()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"text": TEXT[:2]}, r"text are of shape \(2, 2\), not \(3, some width\)"),
        ({"text": TEXT.astype(np.float64)}, "text are float64, not float32"),
        ({"user_profiles": np.full((3, 2), np.nan, np.float32)}, "user_profiles: row 0"),
        ({"item_profiles": np.zeros((3, 0), np.float32)}, "item_profiles are of shape"),
    ],
)
def test_inputs_that_do_not_fit_are_named(wrong: dict[str, np.ndarray], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        Inputs(train=TRAIN, **wrong)
