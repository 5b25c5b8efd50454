"""Models in their published form do what their equations say."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from recommenders.models.errors import ModelError
from recommenders.models.gradient import Batch
from recommenders.models.registry import build
from recommenders.trainer import TrainerConfig, train
from tests.recommenders.models.worlds import ExactNegatives, world

WORLD = world(blocks=2, cold_items=1, cold_users=1)
USERS = np.flatnonzero(WORLD.withheld >= 0)


def made(name: str, **options: object) -> Any:
    return build(name, WORLD.inputs, {"embedding_size": 4, **options}, np.random.default_rng(3))


def batch(*, negatives: int = 1, size: int = 6) -> Batch:
    rng = np.random.default_rng(0)
    rows, columns = WORLD.inputs.train.nonzero()
    chosen = rng.choice(len(rows), size, replace=False)
    warm = np.setdiff1d(np.arange(WORLD.inputs.n_items), WORLD.cold_items)
    shape = (size,) if negatives == 1 else (size, negatives)
    return Batch(
        torch.from_numpy(rows[chosen].astype(np.int64)),
        torch.from_numpy(columns[chosen].astype(np.int64)),
        torch.from_numpy(rng.choice(warm, shape)),
    )


def test_bias_mf_is_the_sum_of_biases_and_product() -> None:
    model = made("bias_mf", items="ids", item_bias="ids", loss="bce")
    with torch.no_grad():
        for parameter in (model.own_bias, model.user_bias, model.global_bias):
            parameter.copy_(torch.randn(parameter.shape, generator=torch.Generator()))
    warm = np.diff(WORLD.inputs.train.indptr) > 0
    users = model.fusion.user_ids.detach().numpy() * warm[:, None]
    items = model.fusion.item_ids.detach().numpy()
    items[WORLD.cold_items] = 0
    wanted = users @ items.T + model.own_bias.detach().numpy()
    wanted += model.user_bias.detach().numpy()[:, None] + model.global_bias.detach().numpy()
    np.testing.assert_allclose(
        model.scores(USERS, WORLD.inputs.train[USERS]), wanted[USERS], atol=1e-5
    )
    # And the loss is that of these scores.
    some = batch()
    (loss,) = model.losses(some, torch.Generator()).values()
    scores = torch.from_numpy(wanted)
    chosen, others = scores[some.users, some.positives], scores[some.users, some.negatives]
    own = (functional.softplus(-chosen) + functional.softplus(others)).mean()
    torch.testing.assert_close(loss, own, atol=1e-5, rtol=1e-5)


def test_an_items_own_bias_is_its_own() -> None:
    # One linear in the embedding could not tell apart two items with one embedding.
    popular, other, cold = 0, 1, int(WORLD.cold_items[0])
    for kind, differs in (("ids", True), ("features", False), ("none", False)):
        model = made("bias_mf", items="ids", item_bias=kind)
        with torch.no_grad():
            model.fusion.item_ids.fill_(0.5)
        rows = torch.full((8,), popular), torch.full((8,), other)
        loss = sum(model.losses(Batch(torch.arange(8), *rows), torch.Generator()).values())
        loss.backward()
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter is not model.fusion.item_ids:
                    parameter.sub_(parameter.grad)
        scores = model.scores(USERS, WORLD.inputs.train[USERS])
        assert (scores[:, popular] > scores[:, other]).all() == differs
        if kind == "ids":
            assert model.own_bias[cold] == 0


@pytest.mark.parametrize("loss", ["bce", "bpr"])
def test_neumf_scores_as_it_is_trained_with_several_negatives(loss: str) -> None:
    model = made("neumf", items="ids", hidden_layers=(6, 5), negatives=3, loss=loss)
    some = batch(negatives=3)
    (found,) = model.losses(some, torch.Generator()).values()
    scores = torch.from_numpy(
        model.scores(some.users.numpy(), WORLD.inputs.train[some.users.numpy()])
    )
    chosen = scores.gather(1, some.positives[:, None])
    others = scores.gather(1, some.negatives)
    if loss == "bce":
        wanted = (functional.softplus(-chosen[:, 0]) + functional.softplus(others).sum(1)).mean()
    else:
        wanted = functional.softplus(others - chosen).mean()
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-5)


def test_neumf_is_what_equation_12_says() -> None:
    model = made("neumf", items="ids", hidden_layers=(6, 5))
    user, item = int(USERS[0]), 2
    with torch.no_grad():
        p, q = model.factors.fusion.user_ids[user], model.factors.fusion.item_ids[item]
        deep = torch.cat([model.deep.fusion.user_ids[user], model.deep.fusion.item_ids[item]])
        first = torch.cat([model.of_users.weight, model.of_items.weight], dim=1)
        hidden = functional.relu(first @ deep + model.of_users.bias)
        hidden = functional.relu(model.layers[0](hidden))
        h = torch.cat([model.product_output.weight[0], model.hidden_output.weight[0]])
        wanted = h @ torch.cat([p * q, hidden]) + model.hidden_output.bias[0]
    scores = model.scores(np.array([user]), WORLD.inputs.train[[user]])
    assert scores[0, item] == pytest.approx(float(wanted), abs=1e-6)


def test_the_trainer_draws_the_negatives_that_a_model_asks_for() -> None:
    model, seen = made("neumf", items="ids", negatives=3), []
    losses = model.losses
    model.losses = lambda some, generator: [seen.append(some), losses(some, generator)][1]
    train(
        model,
        TrainerConfig(max_steps=2, batch_size=10),
        draw=ExactNegatives(WORLD.inputs.train).draw,
        rng=np.random.default_rng(0),
    )
    for some in seen:
        assert some.negatives.shape == (len(some), 3)
        users = some.users.repeat_interleave(3).tolist()
        assert not WORLD.inputs.train[users, some.negatives.reshape(-1).tolist()].any()


def test_alpharec_does_not_count_what_a_user_chose_as_a_negative() -> None:
    model = made("alpharec", negatives=4)
    some = batch()
    (found,) = model.losses(some, torch.Generator()).values()
    users, items = (
        functional.normalize(each) for each in model.graph.propagate(*model._first(), 2)
    )
    dense, losses, masked = WORLD.inputs.train.toarray(), [], 0
    for user, positive in zip(some.users.tolist(), some.positives.tolist(), strict=True):
        others = [row for row in some.negatives[:4].tolist() if not dense[user, row]]
        masked += 4 - len(others)
        logits = users[user] @ items[[positive, *others]].T / model.config.temperature
        losses.append(logits.logsumexp(0) - logits[0])
    assert masked > 0
    torch.testing.assert_close(found, torch.stack(losses).mean(), atol=1e-5, rtol=1e-5)


def test_alpharec_reads_users_on_the_scale_of_items() -> None:
    model = made("alpharec", variant="augmented")
    profiles = WORLD.inputs.item_profiles
    assert profiles is not None
    # A user whose profile is that of an item is read as that item is.
    known = WORLD.inputs.train[:1] * 0
    read = model._scale(profiles[:1])
    np.testing.assert_allclose(read, model._item_vectors[:1, -profiles.shape[1] :], atol=1e-6)
    assert np.isfinite(model.new_user_scores(known, profiles[:1])).all()


def test_alpharecs_hidden_layer_is_twice_as_wide_as_its_vectors_or_as_asked() -> None:
    assert WORLD.inputs.text is not None
    assert made("alpharec").network[0].out_features == 2 * WORLD.inputs.text.shape[1]
    assert made("alpharec", hidden_size=7).network[0].out_features == 7


@pytest.mark.parametrize("name", ["lightgcn", "sgl", "simgcl"])
def test_the_regulariser_is_half_the_squares_of_a_batchs_first_embeddings(name: str) -> None:
    model = made(name, items="ids", regularisation=0.2)
    model.begin_epoch(torch.Generator())
    some = batch()
    found = model.losses(some, torch.Generator())["regulariser"]
    users, items = model.fusion.user_ids.detach(), model.fusion.item_ids.detach()
    squares = sum(
        float(table[row].square().sum())
        for table, rows in (
            (users, some.users),
            (items, some.positives),
            (items, some.negatives),
        )
        for row in rows
    )
    assert found.item() == pytest.approx(0.2 / 2 * squares / len(some), rel=1e-5)
    without = made(name, items="ids")
    without.begin_epoch(torch.Generator())
    assert "regulariser" not in without.losses(some, torch.Generator())


def test_simgcl_without_its_own_layer_needs_item_ids() -> None:
    with pytest.raises(ModelError, match="it needs items: ids"):
        made("simgcl", own_layer=False)
    model = made("simgcl", items="ids", own_layer=False)
    users, items = model.graph.propagate(
        model.fusion.users(), model.fusion.items(), 2, own_layer=False
    )
    scores = model.scores(USERS, WORLD.inputs.train[USERS])
    np.testing.assert_allclose(scores, (users[USERS] @ items.T).detach(), atol=1e-6)


def test_weight_decay_is_twice_the_regularisation_of_reclms_code() -> None:
    # Its loss has 1e-7 times the squares of all parameters, and 1e-5 for SGL and SimGCL.
    for name, wanted in {
        "bias_mf": 2e-7,
        "ncf": 2e-7,
        "lightgcn": 2e-7,
        "sgl": 2e-5,
        "simgcl": 2e-5,
    }.items():
        assert made(name).weight_decay == wanted


@pytest.mark.parametrize(("asked", "applied"), [(None, 2e-5), (0.0, 0.0), (0.5, 0.5)])
def test_the_models_weight_decay_counts_unless_another_is_asked_for(
    asked: float | None, applied: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen, adam = [], torch.optim.Adam

    def spied(*args: Any, **options: Any) -> torch.optim.Adam:
        seen.append(options["weight_decay"])
        return adam(*args, **options)

    monkeypatch.setattr(torch.optim, "Adam", spied)
    config = TrainerConfig(max_steps=1, weight_decay=asked)
    draw = ExactNegatives(WORLD.inputs.train).draw
    train(made("sgl", items="ids"), config, draw=draw, rng=np.random.default_rng(0))
    assert seen == [applied]
