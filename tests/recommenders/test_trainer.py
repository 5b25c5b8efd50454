from __future__ import annotations

import csv
import itertools
import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from recommenders.checkpoints import Checkpoint
from recommenders.data.negatives import NegativeSampler
from recommenders.models.base import Inputs
from recommenders.models.errors import ModelError
from recommenders.models.registry import MODELS, build
from recommenders.negative_sampling import among_chosen
from recommenders.trainer import TrainerConfig, fitting_batch, train
from tests.recommenders.models.worlds import ExactNegatives, world

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from torch import Tensor

    from recommenders.models.gradient import Batch, GradientModel

WORLD = world(blocks=3, cold_items=1, cold_users=0)
NAMES = [name for name, entry in MODELS.items() if entry.trained]
DRAW = among_chosen(WORLD.inputs.train, lambda matrix: ExactNegatives(matrix).draw)
EPOCH = math.ceil(WORLD.inputs.train.nnz / 50)
SHORT = TrainerConfig(
    max_steps=4 * EPOCH, eval_steps=EPOCH, batch_size=50, learning_rate=0.01, patience=None
)


class Killed(Exception):
    """Stands for a process that is gone."""


def made(
    name: str = "lightgcn",
    options: Mapping[str, Any] | None = None,
    inputs: Inputs = WORLD.inputs,
) -> GradientModel[Any]:
    model: Any = build(name, inputs, options or {}, np.random.default_rng(7))
    return model


def parameters(model: torch.nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


def agreement(model: GradientModel[Any]) -> float:
    users = np.arange(WORLD.inputs.n_users)
    scores = model.scores(users, WORLD.inputs.train)
    return float((WORLD.item_blocks[scores.argmax(axis=1)] == WORLD.user_blocks).mean())


def spy(model: GradientModel[Any], seen: list[Batch]) -> None:
    """Has a model note the batches that it is given."""
    losses = model.losses

    def noting(batch: Batch, generator: torch.Generator) -> Mapping[str, Tensor]:
        seen.append(batch)
        return losses(batch, generator)

    model.losses = noting  # type: ignore[method-assign]


def test_an_epoch_has_each_interaction_once_with_a_negative_of_its_user() -> None:
    model, seen = made(), []
    spy(model, seen)
    history = train(
        model,
        SHORT.model_copy(update={"max_steps": 2 * EPOCH}),
        draw=DRAW,
        rng=np.random.default_rng(0),
    )
    assert len(seen) == 2 * EPOCH
    orders = []
    for epoch in (seen[:EPOCH], seen[EPOCH:]):
        users, positives, negatives = (
            torch.cat([getattr(batch, name) for batch in epoch]).tolist()
            for name in ("users", "positives", "negatives")
        )
        pairs = list(zip(users, positives, strict=True))
        assert sorted(pairs) == sorted(zip(*WORLD.inputs.train.nonzero(), strict=True))
        assert not WORLD.inputs.train[users, negatives].any()
        assert not set(negatives) & set(WORLD.cold_items.tolist())
        orders.append(pairs)
    assert orders[0] != orders[1]
    assert [row["epoch"] for row in history.rows] == [1, 2]
    assert [row["step"] for row in history.rows] == [EPOCH, 2 * EPOCH]


def test_who_chose_everything_is_left_out_and_all_others_are_trained_on() -> None:
    dense = np.zeros((4, 5), np.float32)
    dense[0, :4] = 1  # all that anybody chose
    dense[1, [0, 2]] = 1
    dense[3, [1, 3]] = 1
    inputs = Inputs(train=type(WORLD.inputs.train)(dense), text=np.eye(5, dtype=np.float32))
    model: Any
    model, seen = build("bias_mf", inputs, {}, np.random.default_rng(7)), []
    spy(model, seen)
    draw = among_chosen(inputs.train, lambda matrix: NegativeSampler(matrix).draw)
    config = SHORT.model_copy(update={"max_steps": 1})
    history = train(model, config, draw=draw, rng=np.random.default_rng(0))
    (batch,) = seen
    pairs = zip(batch.users.tolist(), batch.positives.tolist(), strict=True)
    assert sorted(pairs) == [(1, 0), (1, 2), (3, 1), (3, 3)]
    assert history.rows[0]["loss"] == pytest.approx(math.log(2), abs=0.2)
    # Where that is everybody, nothing can be learnt.
    inputs = Inputs(train=inputs.train[[0, 2]], text=inputs.text)
    model = build("bias_mf", inputs, {}, np.random.default_rng(7))
    with pytest.raises(ModelError, match="no negatives to draw"):
        train(model, SHORT, draw=draw, rng=np.random.default_rng(0))


def test_losses_fall_and_are_means_over_interactions() -> None:
    model = made("sgl")
    history = train(model, SHORT, draw=DRAW, rng=np.random.default_rng(0))
    losses = [row["loss"] for row in history.rows]
    assert losses == sorted(losses, reverse=True)
    for row in history.rows:
        assert row["loss"] == pytest.approx(row["bpr"] + row["contrast"])
    assert history.rows[0]["bpr"] == pytest.approx(math.log(2), abs=0.2)
    assert history.best_step == 4 * EPOCH


@pytest.mark.parametrize("name", ["bias_mf", "ncf", "lightgcn", "sgl"])
def test_eight_pieces_of_one_are_a_batch_of_eight(name: str) -> None:
    after = []
    for accumulate in (1, 8):
        model = made(name, {"variant": "augmented"})
        config = TrainerConfig(
            max_steps=21, batch_size=8, accumulate=accumulate, learning_rate=0.01
        )
        # Where a gradient is nearly 0, rounding is all that Adam sees: hence the tolerance.
        history = train(model, config, draw=DRAW, rng=np.random.default_rng(0))
        after.append((parameters(model), history.rows[0]["loss"]))
    (whole, whole_loss), (pieces, pieces_loss) = after
    assert whole_loss == pytest.approx(pieces_loss, rel=1e-4)
    for key, value in whole.items():
        torch.testing.assert_close(pieces[key], value, atol=2e-3, rtol=1e-3)


@pytest.mark.parametrize("name", ["bias_mf", "ncf", "lightgcn", "sgl"])
def test_the_last_batch_is_cut_into_pieces_that_weigh_what_they_hold(name: str) -> None:
    # 7 in pieces of at most 3: 3, 3 and 1; the gradient must be that of the 7 at once.
    rng, train_rows = np.random.default_rng(0), WORLD.inputs.train.nonzero()
    chosen = rng.choice(WORLD.inputs.train.nnz, 7, replace=False)
    grads = []
    for accumulate in (1, 3):
        small = np.zeros(WORLD.inputs.train.shape, np.float32)
        small[train_rows[0][chosen], train_rows[1][chosen]] = 1
        inputs = Inputs(train=type(WORLD.inputs.train)(small), text=WORLD.inputs.text)
        model: Any = build(name, inputs, {}, np.random.default_rng(1))
        config = TrainerConfig(max_steps=1, batch_size=7, accumulate=accumulate)
        train(model, config, draw=ExactNegatives(inputs.train).draw, rng=np.random.default_rng(2))
        grads.append({key: value.grad for key, value in model.named_parameters()})
    for key, grad in grads[0].items():
        torch.testing.assert_close(grads[1][key], grad, atol=1e-6, rtol=1e-4)


def test_training_stops_when_nothing_gets_better_and_keeps_the_best() -> None:
    values, kept = iter([0.1, 0.5, 0.4, 0.5, 0.3, 0.9]), []

    def validate(model: GradientModel[Any]) -> float:
        assert not model.training
        kept.append(parameters(model))
        return next(values)

    model = made()
    config = SHORT.model_copy(update={"max_steps": 20 * EPOCH, "patience": 3})
    history = train(model, config, draw=DRAW, rng=np.random.default_rng(0), validate=validate)
    assert [row["validation"] for row in history.rows] == [0.1, 0.5, 0.4, 0.5, 0.3]
    assert (history.best_step, history.best, history.waited) == (2 * EPOCH, 0.5, 3)
    for name, value in model.state_dict().items():
        torch.testing.assert_close(value, kept[1][name], rtol=0, atol=0)
    assert not model.training


def test_one_training_keeps_the_best_for_each_of_several_measures(tmp_path: Path) -> None:
    warm, cold = [0.1, 0.5, 0.4, 0.3, 0.2, 0.1], [0.3, 0.2, 0.1, 0.4, 0.4, 0.3]
    values, kept = iter(zip(warm, cold, strict=True)), []

    def validate(model: GradientModel[Any]) -> dict[str, float]:
        kept.append(parameters(model))
        return dict(zip(("warm", "cold-items"), next(values), strict=True))

    config = SHORT.model_copy(update={"max_steps": 3 * EPOCH, "patience": 2})
    path, rng = tmp_path / "run.safetensors", np.random.default_rng(0)
    train(made(), config, draw=DRAW, rng=rng, validate=validate, checkpoint=path)
    # What was best before a run was cut off is best afterwards; after 4 there is none.
    config, model = config.model_copy(update={"max_steps": 20 * EPOCH}), made()
    history = train(model, config, draw=DRAW, rng=rng, validate=validate, checkpoint=path)
    assert [row["validation warm"] for row in history.rows] == warm[:6]
    assert [row["validation cold-items"] for row in history.rows] == cold[:6]
    found = {name: (best.value, best.step) for name, best in history.bests.items()}
    assert found == {"warm": (0.5, 2 * EPOCH), "cold-items": (0.4, 4 * EPOCH)}
    assert (history.best, history.best_step, history.waited) == (0.5, 2 * EPOCH, 2)
    for epoch, name in ((2, "warm"), (4, "cold-items"), (2, "warm")):
        history.bests[name].restore(model)
        for key, value in model.state_dict().items():
            torch.testing.assert_close(value, kept[epoch - 1][key], rtol=0, atol=0)
        assert not model.training


def test_validation_is_every_so_many_steps_and_after_the_last() -> None:
    config = SHORT.model_copy(update={"max_steps": 5, "eval_steps": 2})
    rng = np.random.default_rng(0)
    history = train(made(), config, draw=DRAW, rng=rng, validate=agreement)
    assert [row["step"] for row in history.rows if "validation" in row] == [2, 4, 5]
    assert [row["epoch"] for row in history.rows] == [0.595, 1, 1.298]


def test_validation_sees_what_training_has_done() -> None:
    config, rng = SHORT.model_copy(update={"max_steps": 30 * EPOCH}), np.random.default_rng(0)
    model = made("bias_mf")
    before = agreement(model)
    history = train(model, config, draw=DRAW, rng=rng, validate=agreement)
    values = [row["validation"] for row in history.rows]
    assert before < 0.7 < values[-1]
    assert values[0] < values[-1]


@pytest.mark.parametrize("name", NAMES)
def test_a_run_that_is_killed_and_resumed_ends_as_one_that_is_not(
    name: str, tmp_path: Path
) -> None:
    options = {"variant": "augmented"}
    whole_model = made(name, options)
    whole = train(whole_model, SHORT, draw=DRAW, rng=np.random.default_rng(0), validate=agreement)

    path, batches = tmp_path / "deep" / "run.safetensors", iter(range(10))

    def dies(users: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        if next(batches, None) is None:  # in the middle of the third epoch
            raise Killed
        return DRAW(users, rng)

    with pytest.raises(Killed):
        train(
            made(name, options),
            SHORT,
            draw=dies,
            rng=np.random.default_rng(0),
            validate=agreement,
            checkpoint=path,
        )
    assert [file.name for file in path.parent.iterdir()] == [path.name]
    resumed_model = made(name, options)
    resumed = train(
        resumed_model,
        SHORT,
        draw=DRAW,
        rng=np.random.default_rng(99),  # the checkpoint's state is what counts
        validate=agreement,
        checkpoint=path,
    )
    for key, value in whole_model.state_dict().items():
        torch.testing.assert_close(resumed_model.state_dict()[key], value, rtol=0, atol=0)
    without_time = [
        [{name: value for name, value in row.items() if name != "seconds"} for row in rows]
        for rows in (whole.rows, resumed.rows)
    ]
    assert without_time[0] == without_time[1]
    assert (resumed.best, resumed.best_step) == (whole.best, whole.best_step)
    again = train(
        made(name, options), SHORT, draw=dies, rng=np.random.default_rng(0), checkpoint=path
    )
    assert again.rows == resumed.rows


def test_a_checkpoint_of_another_run_is_refused(tmp_path: Path) -> None:
    path, rng = tmp_path / "run.safetensors", np.random.default_rng(0)
    train(made(), SHORT, draw=DRAW, rng=rng, checkpoint=path)
    with pytest.raises(ModelError, match=r"other model options\)"):
        train(made(options={"layers": 1}), SHORT, draw=DRAW, rng=rng, checkpoint=path)
    other = SHORT.model_copy(update={"batch_size": 10})
    with pytest.raises(ModelError, match=r"other training options\)"):
        train(made(), other, draw=DRAW, rng=rng, checkpoint=path)
    assert WORLD.inputs.text is not None
    texts = replace(WORLD.inputs, text=WORLD.inputs.text[::-1].copy())
    with pytest.raises(ModelError, match=r"other features\)"):
        train(made(inputs=texts), SHORT, draw=DRAW, rng=rng, checkpoint=path)
    # Profiles that a model does not read may change.
    bare = made(inputs=WORLD.inputs.without_profiles())
    train(bare, SHORT, draw=DRAW, rng=rng, checkpoint=path)
    more = SHORT.model_copy(update={"max_steps": 5 * EPOCH})
    assert len(train(made(), more, draw=DRAW, rng=rng, checkpoint=path).rows) == 5
    whole = Checkpoint.read(path)
    wider = {name: torch.stack([tensor, tensor]) for name, tensor in whole.tensors.items()}
    replace(whole, tensors=wider).write(path)
    with pytest.raises(ModelError, match="has other parameters than the model"):
        train(made(), SHORT, draw=DRAW, rng=rng, checkpoint=path)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(ModelError, match="delete it to start anew"):
        train(made(), SHORT, draw=DRAW, rng=rng, checkpoint=path)


def test_a_loss_that_is_no_number_stops_training_and_keeps_what_was_good(tmp_path: Path) -> None:
    model, path = made(), tmp_path / "run.safetensors"
    count = iter(range(100))
    losses = model.losses

    def breaks(batch: Batch, generator: torch.Generator) -> Mapping[str, Tensor]:
        terms = losses(batch, generator)
        factor = math.nan if next(count) == 6 else 1.0
        return {name: term * factor for name, term in terms.items()}

    model.losses = breaks  # type: ignore[method-assign]
    with pytest.raises(
        ModelError, match=r"lightgcn: .* in step 7 \(bpr nan\); lower .* 0\.01; .* after step 4"
    ):
        train(model, SHORT, draw=DRAW, rng=np.random.default_rng(0), checkpoint=path)
    assert all(value.isfinite().all() for value in model.state_dict().values())
    rng = np.random.default_rng(0)
    assert len(train(made(), SHORT, draw=DRAW, rng=rng, checkpoint=path).rows) == 4


def test_a_validation_that_is_no_number_is_refused() -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(ModelError, match="validation after step 4 gave nan"):
        train(made(), SHORT, draw=DRAW, rng=rng, validate=lambda _: math.nan)


def test_no_interactions_are_nothing_to_train_on() -> None:
    none = Inputs(train=WORLD.inputs.train * 0, text=WORLD.inputs.text)
    none.train.eliminate_zeros()
    model: Any = build("bias_mf", none, {}, np.random.default_rng(0))
    with pytest.raises(ModelError, match="no interactions"):
        train(model, SHORT, draw=DRAW, rng=np.random.default_rng(0))


def test_determinism_is_asked_for_during_training_alone() -> None:
    asked: list[bool] = []

    def validate(_: GradientModel[Any]) -> float:
        asked.append(torch.are_deterministic_algorithms_enabled())
        return 0.0

    for deterministic in (True, False):
        config = SHORT.model_copy(update={"max_steps": 1, "deterministic": deterministic})
        rng = np.random.default_rng(0)
        train(made("sgl"), config, draw=DRAW, rng=rng, validate=validate)
    assert asked == [True, False]
    assert not torch.are_deterministic_algorithms_enabled()


@pytest.mark.parametrize("name", NAMES)
def test_bfloat16_learns_as_float32_does(name: str) -> None:
    config = SHORT.model_copy(update={"max_steps": 30 * EPOCH, "precision": "bfloat16"})
    model = made(name, {"variant": "augmented"})
    train(model, config, draw=DRAW, rng=np.random.default_rng(0))
    assert all(value.dtype == torch.float32 for value in model.state_dict().values())
    assert agreement(model) > 0.9


def test_the_history_is_written_as_csv(tmp_path: Path) -> None:
    config = SHORT.model_copy(update={"max_steps": 2 * EPOCH})
    history = train(
        made(), config, draw=DRAW, rng=np.random.default_rng(0), validate=lambda _: 0.25
    )
    history.write_csv(tmp_path / "history.csv")
    with (tmp_path / "history.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["step", "epoch", "seconds", "loss", "bpr", "validation"]
    assert [row["step"] for row in rows] == ["4", "8"]
    assert [float(row["epoch"]) for row in rows] == [1, 2]
    assert [row["validation"] for row in rows] == ["0.25", "0.25"]
    assert float(rows[1]["loss"]) == history.rows[1]["loss"]


@pytest.mark.parametrize(
    ("interactions", "batch", "steps"),
    [
        (100, 256, 1),
        (28_000, 512, 55),
        (80_000, 2048, 40),
        (1_000_000, 16_384, 62),
        (10**8, 65_536, 1526),
    ],
)
def test_a_batch_fits_the_data(interactions: int, batch: int, steps: int) -> None:
    assert fitting_batch(interactions) == batch
    assert math.ceil(interactions / batch) == steps


def test_the_batch_of_a_training_is_chosen_by_its_data_and_logged() -> None:
    model, seen = made(), []
    spy(model, seen)
    config = TrainerConfig(max_steps=3)
    history = train(model, config, draw=DRAW, rng=np.random.default_rng(0))
    assert [len(batch) for batch in seen] == [WORLD.inputs.train.nnz] * 3
    assert (history.batch_size, history.steps, history.budget) == (256, 3, 3)


def test_what_was_best_in_the_last_tenth_of_the_budget_has_not_converged() -> None:
    # Steps 1 to 20: the last tenth is 19 and 20.
    best = {"early": 3, "just in time": 18, "late": 19}
    step = itertools.count(1)

    def validate(_: GradientModel[Any]) -> dict[str, float]:
        now = next(step)
        return {name: -abs(now - at) for name, at in best.items()}

    config = SHORT.model_copy(update={"max_steps": 20, "eval_steps": 1})
    history = train(made(), config, draw=DRAW, rng=np.random.default_rng(0), validate=validate)
    assert {name: one.step for name, one in history.bests.items()} == best
    assert history.not_converged == ["late"]
    assert history.best_step == 3


def test_a_run_that_is_resumed_between_validations_ends_as_one_that_is_not(tmp_path: Path) -> None:
    # Validations at 3, 6, 9, ...; epochs end at 4, 8, 12: a row of the log is open at a checkpoint.
    config = SHORT.model_copy(update={"max_steps": 14, "eval_steps": 3})
    whole = train(made("sgl"), config, draw=DRAW, rng=np.random.default_rng(0), validate=agreement)
    path, batches = tmp_path / "run.safetensors", iter(range(11))

    def dies(users: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        if next(batches, None) is None:
            raise Killed
        return DRAW(users, rng)

    with pytest.raises(Killed):
        train(
            made("sgl"),
            config,
            draw=dies,
            rng=np.random.default_rng(0),
            validate=agreement,
            checkpoint=path,
        )
    assert Checkpoint.read(path).state["steps"] == 8
    resumed = train(
        made("sgl"),
        config,
        draw=DRAW,
        rng=np.random.default_rng(99),
        validate=agreement,
        checkpoint=path,
    )
    for one, other in zip(whole.rows, resumed.rows, strict=True):
        assert {**one, "seconds": 0} == {**other, "seconds": 0}
    assert [row["step"] for row in whole.rows] == [3, 6, 9, 12, 14]


def test_items_that_nobody_chose_are_not_drawn() -> None:
    draws = DRAW(np.repeat(np.arange(WORLD.inputs.n_users), 50), np.random.default_rng(0))
    everything = np.arange(WORLD.inputs.n_items)
    assert set(draws.tolist()) == set(np.setdiff1d(everything, WORLD.cold_items).tolist())
