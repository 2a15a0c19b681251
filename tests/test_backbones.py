"""Weights: embedded, from files, from the hub through its real client; and the graphs made of them."""

from __future__ import annotations

import hashlib
import http.server
import json
import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from kagglekit.base import devices
from kagglekit.base.errors import UserError
from kagglekit.images import decoding
from kagglekit.models import onnx_export, registry, sessions, timm_models, weights
from kagglekit.recipe import FeatureSettings
from tests import damage, drawing
from tests.conftest import TINY, Cli

LOAD = f"""
from kagglekit.models import timm_models, weights

model, path, _ = timm_models.load_model("{TINY}.r160_in1k", weights.locate("{TINY}.r160_in1k"))
print(path, end="")
"""
COMMIT = "0123456789abcdef0123456789abcdef01234567"


def tiny_weights(path: Path, **arguments: int) -> Path:
    torch.manual_seed(3)
    state = timm.create_model(TINY, **arguments).state_dict()
    if path.suffix == ".safetensors":
        save_file(state, path)
    else:
        torch.save(state, path)
    return path


def load(name: str, file: Path) -> torch.nn.Module:
    return timm_models.load_model(name, weights.locate(name, str(file)))[0]


@pytest.mark.parametrize("ending", [".safetensors", ".pth"])
def test_weights_load_from_a_local_file(tmp_path: Path, ending: str) -> None:
    file = tiny_weights(tmp_path / f"w{ending}")
    model = load(TINY, file)
    expected = load_file(file) if ending == ".safetensors" else torch.load(file, weights_only=True)
    assert all(torch.equal(model.state_dict()[key], value) for key, value in expected.items())


def test_a_classifier_of_another_size_and_none_at_all_are_understood(tmp_path: Path) -> None:
    assert load(TINY, tiny_weights(tmp_path / "ten.pth", num_classes=10)).num_classes == 10
    assert load(TINY, tiny_weights(tmp_path / "none.pth", num_classes=0)).num_classes == 0


def test_nothing_in_a_weights_file_is_ever_run(tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.system, (f"touch {tmp_path / 'harm'}",)

    (tmp_path / "bomb.pth").write_bytes(pickle.dumps({"state_dict": Bomb()}))
    with pytest.raises(UserError, match="nothing was unpickled"):
        load(TINY, tmp_path / "bomb.pth")
    assert not (tmp_path / "harm").exists()


def test_weights_of_another_model_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="does not hold the weights of test_vit"):
        load("test_vit", tiny_weights(tmp_path / "w.pth"))


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("resnet5", "did you mean resnet50"),
        ("resnet18=missing.pth", "no such file"),
        (f"resnet18={Path(__file__)}", "safetensors or .pth"),
        ("resnet18", "the model hub does not answer"),
        ("test_vit4", "no pretrained weights"),
    ],
)
def test_what_can_not_be_had_is_one_line(spec: str, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        registry.resolve(spec, FeatureSettings(), lambda _: None)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", list(weights.EMBEDDED))
def test_embedded_weights_are_timms_own_model(name: str) -> None:
    found = weights.locate(name)
    assert found.source == "embedded"
    assert found.path is not None
    model, path, licence = timm_models.load_model(name, found)
    packaged = torch.load(path, weights_only=True)
    values = [value for key, value in packaged.items() if not key.endswith("num_batches_tracked")]
    own = [value for key, value in model.state_dict().items() if not key.endswith("num_batches_tracked")]
    assert all(torch.equal(a, b) for a, b in zip(values, own, strict=True))
    assert licence == "Apache-2.0"
    assert timm_models.preprocessing_of(model, 0).mean == (0.5, 0.5, 0.5)


@pytest.mark.parametrize(
    ("name", "size"),
    [
        *(("tf_efficientnet_lite0", size) for size in (None, (72, 96), (75, 101))),
        ("tf_efficientnet_lite1", (72, 96)),
        ("tf_efficientnet_lite2", (75, 101)),
    ],
)
def test_embedded_models_are_exported_without_tracing(
    name: str, size: tuple[int, int] | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnx_export, "_trace", lambda *_, **__: pytest.fail("traced"))
    exported = onnx_export.export(name, weights.locate(name), size, tmp_path)
    model = timm_models.create(name, num_classes=7).eval()  # other weights, and another head
    graph = sessions.Session(onnx_export.trained(exported, model, model.state_dict()), "cpu", 1)
    images = torch.randint(0, 256, (2, *exported.preprocessing.size, 3), dtype=torch.uint8)
    with torch.inference_mode():
        expected = onnx_export.wrap(model, exported.preprocessing, whole=True)(images)
    for found, wanted in zip(graph.run(("pooled", "logits"), {"images": images.numpy()}), expected, strict=True):
        assert np.abs(found - wanted.numpy()).max() < 1e-4 * wanted.abs().max()


def test_the_graph_takes_any_batch_and_agrees_with_torch(tiny: str) -> None:
    backbone = registry.resolve(tiny, FeatureSettings(), lambda _: pytest.fail("exported again"))
    model = load(TINY, Path(backbone.weights))
    height, width = backbone.preprocessing.size
    session = sessions.Session(Path(backbone.graph), "cpu", 1)
    assert session.device == "cpu"
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (backbone.preprocessing.mean, backbone.preprocessing.std))
    for count in (1, 3, 8):
        pixels = np.random.default_rng(count).integers(0, 256, (count, height, width, 3), dtype=np.uint8)
        with torch.inference_mode():
            inputs = (torch.from_numpy(pixels).permute(0, 3, 1, 2) / 255 - mean) / std
            pooled = model.forward_head(model.forward_features(inputs), pre_logits=True)  # type: ignore[operator]
            logits = model(inputs)
        found = session.run(["pooled", "logits"], {"images": pixels})
        assert np.allclose(found[0], pooled.numpy(), atol=1e-4)
        assert np.allclose(found[1], logits.numpy(), atol=1e-4)


@pytest.mark.parametrize("size", [(500, 375), (375, 500), (200, 220), (80, 60), (333, 1000)])
@pytest.mark.parametrize(
    "name", ["tf_efficientnet_lite2", "resnet18.a1_in1k", "vit_tiny_patch16_224", *registry.DEFAULT_GPU]
)
def test_preprocessing_is_timms_own_to_the_pixel(name: str, size: tuple[int, int]) -> None:
    with torch.device("meta"):
        model = timm.create_model(name)
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8))
    own = timm.data.create_transform(**timm.data.resolve_model_data_config(model))(picture)
    preprocessing = timm_models.preprocessing_of(model, 0)
    ours = torch.from_numpy(preprocessing.apply(np.asarray(picture)).copy()).permute(2, 0, 1) / 255
    mean, std = (torch.tensor(value).view(3, 1, 1) for value in (preprocessing.mean, preprocessing.std))
    assert torch.allclose((ours - mean) / std, own, atol=1e-5)


@pytest.mark.parametrize("size", [(500, 375), (80, 60)])
def test_squash_keeps_all_of_the_image(size: tuple[int, int]) -> None:
    preprocessing = decoding.Preprocessing(
        size=(96, 96), crop="centre", crop_share=0.875, interpolation="bilinear", mean=(0, 0, 0), std=(1, 1, 1)
    )
    picture = np.zeros((size[1], size[0], 3), np.uint8)
    picture[:, : size[0] // 8] = 255
    squashed, cut = preprocessing.cropped("squash").apply(picture), preprocessing.apply(picture)
    assert squashed.shape == cut.shape == (96, 96, 3)
    assert squashed[:, :8].mean() > 250
    assert cut[:, :8].mean() < 50  # a centre crop of a wide image loses that edge
    assert preprocessing.cropped("model") == preprocessing


@pytest.mark.parametrize("name", ["deit_tiny_distilled_patch16_224", "resnetv2_50x1_bit"])
def test_models_whose_logits_are_no_layer_on_the_pooled_features_offer_only_these(name: str) -> None:
    model = timm_models.create(name).eval()
    preprocessing = timm_models.preprocessing_of(model, 0)
    assert not onnx_export._has_plain_classifier(model, preprocessing)
    assert len(onnx_export.wrap(model, preprocessing)(torch.zeros(1, *preprocessing.size, 3, dtype=torch.uint8))) == 1


def test_another_image_size_makes_another_graph(tiny: str, tmp_path: Path) -> None:
    said: list[str] = []
    small = registry.resolve(tiny, FeatureSettings(image_size=(96,)), said.append)
    assert small.preprocessing.size == (96, 96)
    assert said
    assert small.graph != registry.resolve(tiny, FeatureSettings(), said.append).graph


def test_changed_weights_are_exported_again(tmp_path: Path, cli: Cli) -> None:
    file = tiny_weights(tmp_path / "w.safetensors")
    spec = f"{TINY}={file}"
    first = registry.resolve(spec, FeatureSettings(), lambda _: None)
    assert registry.resolve(spec, FeatureSettings(), lambda _: pytest.fail("exported again")) == first
    state = load_file(file)
    state["fc.bias"] += 1
    save_file(state, file)
    second = registry.resolve(spec, FeatureSettings(), lambda _: None)
    assert second.sha256 == hashlib.sha256(file.read_bytes()).hexdigest() != first.sha256
    assert second.graph != first.graph


class Hub(http.server.BaseHTTPRequestHandler):
    """Speaks as much of the model hub's protocol as its client needs to get one file."""

    content = b""
    asked: list[str]

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, *, body: bool) -> None:
        path = unquote(urlsplit(self.path).path)
        self.asked.append(f"{self.command} {path}")
        if path == "/":
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        if not path.endswith("/resolve/main/model.safetensors"):
            self.send_response(404)
            self.send_header("X-Error-Code", "EntryNotFound")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.content)))
        self.send_header("ETag", f'"{hashlib.sha256(self.content).hexdigest()}"')
        self.send_header("X-Repo-Commit", COMMIT)
        self.end_headers()
        if body:
            self.wfile.write(self.content)

    def log_message(self, *_: object) -> None:
        """Keep the tests' output clean."""


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[tuple[str, list[str], bytes]]:
    """A hub on the loopback interface that has random weights of the tiny model: (address, requests, file)."""
    Hub.content = tiny_weights(tmp_path / "hub.safetensors").read_bytes()
    Hub.asked = []
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", Hub.asked, Hub.content
    server.shutdown()
    server.server_close()
    thread.join()


def test_weights_come_from_the_hub_through_its_real_client_and_then_from_its_cache(
    hub: tuple[str, list[str], bytes], tmp_path: Path, home: Path
) -> None:
    address, asked, content = hub
    archive = drawing.dogs(tmp_path)
    environment = {key: value for key, value in os.environ.items() if not key.lower().endswith("_proxy")}
    environment |= {"HF_ENDPOINT": address, "HF_HOME": str(tmp_path / "hf"), "HF_HUB_OFFLINE": "0"}

    def kagglekit(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "kagglekit", *words]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=240)

    words = (
        "run",
        "dogs-vs-cats",
        "--data",
        str(archive),
        "--backbone",
        f"{TINY}.r160_in1k",
        "--no-report",
        *damage.QUICK,
    )
    done = kagglekit(*words)
    assert done.returncode == 0, done.stderr
    assert f"GET /timm/{TINY}.r160_in1k/resolve/main/model.safetensors" in asked
    (folder,) = (home / "dogs-vs-cats" / "runs").iterdir()
    (record,) = json.loads((folder / "run.json").read_text())["backbones"]
    assert record["source"] == "hub"
    assert record["sha256"] == hashlib.sha256(content).hexdigest()
    assert record["licence"] == "apache-2.0"
    asked.clear()
    exported = kagglekit("export", folder.name)
    assert exported.returncode == 0, exported.stderr
    offline = subprocess.run(
        [sys.executable, "-c", LOAD], env=environment | {"HF_HUB_OFFLINE": "1"}, capture_output=True, check=False
    )
    assert offline.returncode == 0, offline.stderr
    assert hashlib.sha256(Path(offline.stdout.decode()).read_bytes()).hexdigest() == record["sha256"]
    assert asked == []


def test_weights_of_the_hub_are_always_loaded_by_timm_which_knows_how(tmp_path: Path) -> None:
    """A distilled transformer has two classifiers, and a file of the user's own is read as having one or none."""
    name = "deit_tiny_distilled_patch16_224"
    file = tmp_path / "model.safetensors"
    state = timm.create_model(name).state_dict()
    save_file(state, file)
    model, path, _ = timm_models.load_model(name, weights.Weights("hub", file, ""))
    assert path == file
    assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items())


@pytest.mark.parametrize(
    ("device", "answers", "expected", "reason"),
    [
        ("cpu", True, registry.DEFAULT_CPU, "installed with kagglekit"),
        ("cuda", True, registry.DEFAULT_GPU, "the model hub answers"),
        ("cuda", False, registry.DEFAULT_CPU, "does not answer"),
    ],
)
def test_defaults_follow_the_device_and_say_why(
    monkeypatch: pytest.MonkeyPatch, device: devices.Device, answers: bool, expected: tuple[str, ...], reason: str
) -> None:
    monkeypatch.setattr(weights, "hub_answers", lambda: answers)
    names, why = registry.default(device)
    assert names == expected
    assert reason in why
    assert all(timm.is_model(name.partition("@")[0].partition(".")[0]) for name in names)
