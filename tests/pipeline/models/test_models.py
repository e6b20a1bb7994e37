from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from pipeline.config import ModelConfig
from pipeline.errors import UserError
from pipeline.models.backbone import build_network, split
from pipeline.models.policy import divide_logits, final_linear
from pipeline.models.reward_model import RewardModel, centred, reference_scale
from pipeline.models.serialization import ModelHeader, load_model, save_model, weights_hash

BACKBONES = ["resnet18", "squeezenet1_1", "mobilenet_v3_small", "shufflenet_v2_x0_5", "efficientnet_b0"]
HEADER = ModelHeader("policy", "resnet18", ("a", "b", "c"), 32, 32)


def network(backbone: str = "resnet18", classes: int = 3, seed: int = 0) -> nn.Module:
    made = build_network(ModelConfig(backbone=backbone, weights="none"), classes, seed)
    nn.init.normal_(final_linear(made).weight)  # a fresh head is zero, which would make every comparison below trivial
    return made


@pytest.mark.parametrize("trainable", ["head", "last_block", "all"])
@pytest.mark.parametrize("backbone", [*BACKBONES, pytest.param("vit_b_32", marks=pytest.mark.long)])
def test_split_is_exact(backbone: str, trainable: str) -> None:
    """suffix(prefix(x)) is network(x), bit for bit, and only the suffix learns."""
    size = 224 if backbone.startswith("vit") else 64
    made = network(backbone)
    images = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        whole = made(images)
        pieces = split(made, trainable)  # type: ignore[arg-type]
        features = images if pieces.prefix is None else pieces.prefix(images)
        assert torch.equal(pieces.suffix(features), whole)
    assert whole.shape == (2, 3)
    learns = [p for p in made.parameters() if p.requires_grad]
    inside = {id(p) for p in pieces.suffix.parameters()}
    assert learns
    assert {id(p) for p in learns} == inside
    assert not any(m.training for m in (pieces.prefix or nn.Identity()).modules()) or trainable == "all"


def test_last_block_of_resnet18_is_layer4() -> None:
    pieces = split(network(), "last_block")
    names = {name for name, p in pieces.network.named_parameters() if p.requires_grad}
    assert {name.split(".")[0] for name in names} == {"layer4", "fc"}
    assert pieces.prefix is not None
    assert pieces.prefix(torch.randn(1, 3, 64, 64)).shape == (1, 256, 4, 4)


def test_training_the_suffix_leaves_the_prefix_alone() -> None:
    """Its BatchNorm statistics too: train mode reaches the suffix only."""
    made = network()
    pieces = split(made, "last_block")
    before = copy.deepcopy(made.state_dict())
    assert pieces.prefix is not None
    pieces.suffix.train()
    optimiser = torch.optim.SGD([p for p in made.parameters() if p.requires_grad], lr=0.1)
    pieces.suffix(pieces.prefix(torch.randn(4, 3, 64, 64))).square().sum().backward()
    optimiser.step()
    changed = {name for name, value in made.state_dict().items() if not torch.equal(value, before[name])}
    assert changed
    assert {name.split(".")[0] for name in changed} == {"layer4", "fc"}


def test_a_fresh_head_says_nothing() -> None:
    made = build_network(ModelConfig(weights="none"), 5, seed=3)
    assert torch.equal(made(torch.randn(2, 3, 32, 32)), torch.zeros(2, 5))


def test_random_weights_depend_on_the_seed_alone() -> None:
    config = ModelConfig(weights="none")
    torch.manual_seed(99)
    one = build_network(config, 3, seed=1)
    torch.rand(7)
    assert weights_hash(one) == weights_hash(build_network(config, 3, seed=1))
    assert weights_hash(one) != weights_hash(build_network(config, 3, seed=2))


def test_weights_from_files(tmp_path: Path) -> None:
    """ImageNet's 1000 classes, this task's own head, .safetensors and .pth: all in torchvision's keys."""
    import torchvision

    imagenet = torchvision.models.resnet18(weights=None)
    save_file(imagenet.state_dict(), tmp_path / "i.safetensors")
    torch.save(imagenet.state_dict(), tmp_path / "i.pth")
    for name in ("i.safetensors", "i.pth"):
        made = build_network(ModelConfig(weights=str(tmp_path / name)), 3, seed=0)
        assert torch.equal(made.conv1.weight, imagenet.conv1.weight)  # type: ignore[arg-type, union-attr]
        assert made(torch.randn(1, 3, 32, 32)).abs().sum() == 0
    own = network(seed=4)
    save_file({k: v.contiguous() for k, v in own.state_dict().items()}, tmp_path / "own.safetensors")
    again = build_network(ModelConfig(weights=str(tmp_path / "own.safetensors")), 3, seed=0)
    assert weights_hash(again) == weights_hash(own)


class Evil:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (pytest.fail, ("a pickle was executed",))


def test_weights_that_cannot_be_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refusal(weights: str, backbone: str = "resnet18") -> str:
        with pytest.raises(UserError) as error:
            build_network(ModelConfig(backbone=backbone, weights=weights), 3, seed=0)
        return str(error.value)

    assert "no such file" in refusal(str(tmp_path / "none.pth"))
    (tmp_path / "text.pth").write_text("hello")
    assert "not a safetensors or weights-only .pth" in refusal(str(tmp_path / "text.pth"))
    (tmp_path / "text.safetensors").write_text("hello")
    assert "not a safetensors" in refusal(str(tmp_path / "text.safetensors"))
    torch.save({"a": Evil()}, tmp_path / "evil.pth")
    assert "weights-only" in refusal(str(tmp_path / "evil.pth"))
    torch.save([1, 2], tmp_path / "list.pth")
    assert "state dict" in refusal(str(tmp_path / "list.pth"))
    save_file({"conv1.weight": torch.zeros(1)}, tmp_path / "other.safetensors")
    assert "'conv1.weight' has shape [1], not [64, 3, 7, 7]" in refusal(str(tmp_path / "other.safetensors"))
    assert "did you mean 'resnet18'" in refusal("none", backbone="resnet18x")

    def no_network(*_: object, **__: object) -> None:
        raise OSError("no network")

    monkeypatch.setattr("torch.hub.load_state_dict_from_url", no_network)
    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", no_network)
    message = refusal("imagenet")
    assert "model.weights=/path/to/weights.pth" in message
    assert "model.weights=none" in message


def test_save_and_load(tmp_path: Path) -> None:
    made, path = network(), tmp_path / "m.safetensors"
    save_model(path, made, HEADER)
    again, header, extra = load_model(path, "policy")
    assert header == HEADER
    assert not extra
    assert weights_hash(again) == weights_hash(made)
    with pytest.raises(UserError, match="a policy model; use a reward model"):
        load_model(path, "reward")
    with pytest.raises(UserError, match="no such model file"):
        load_model(tmp_path / "none", "policy")
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(UserError, match="damaged"):
        load_model(path, "policy")
    save_file({"x": torch.zeros(1)}, path)
    with pytest.raises(UserError, match="not a model of image-rlhf"):
        load_model(path, "policy")


@pytest.mark.parametrize("backbone", ["googlenet", "inception_v3"])
def test_a_network_that_rescales_its_input_does_so_wherever_its_weights_are_from(
    backbone: str,
) -> None:
    """torchvision tells a downloaded one to, and a reloaded one not to: a saved policy would predict something else."""
    network = build_network(ModelConfig(backbone=backbone, weights="none"), 2, seed=0)
    assert network.transform_input is True


def test_weights_hash_sees_every_bit() -> None:
    made = network()
    before = weights_hash(made)
    made.bn1.running_mean[0] += 1e-7  # type: ignore[index, union-attr, operator]
    assert weights_hash(made) != before


def test_temperature_divides_logits() -> None:
    made = network()
    images = torch.randn(2, 3, 32, 32)
    before = made(images)
    divide_logits(split(made, "all"), 2.5)
    assert torch.allclose(made(images), before / 2.5, atol=1e-6)


def combined(utilities: list[Tensor], log_ref: Tensor, pessimism: float = 0.0) -> Tensor:
    """r~ of an ensemble whose scales are fitted on these very images."""
    empty = [torch.nn.Identity() for _ in utilities]
    return RewardModel.fitted(empty, utilities, log_ref, tie=0.0, pessimism=pessimism).rewards(utilities, log_ref)


@pytest.mark.parametrize(("members", "pessimism"), [(1, 0.0), (3, 0.0), (3, 0.7)])
def test_normalised_reward(members: int, pessimism: float) -> None:
    """Mean 0 under the reference for every image, variance 1 over all, whatever offset an image has (METHOD 2)."""
    random = torch.Generator().manual_seed(0)
    log_ref = torch.log_softmax(torch.randn(50, 4, generator=random), -1)
    utilities = [3 * torch.randn(50, 4, generator=random) for _ in range(members)]
    reward, p = combined(utilities, log_ref, pessimism), log_ref.exp()
    assert torch.allclose((p * reward).sum(-1), torch.zeros(50), atol=1e-5)
    assert (p * reward.square()).sum(-1).mean().item() == pytest.approx(1, abs=1e-5)
    shifted = [5 * u + torch.randn(50, 1, generator=random) for u in utilities]
    assert torch.allclose(combined(shifted, log_ref, pessimism), reward, atol=1e-4), "nor whatever unit a member has"


def test_one_member_is_its_centred_utilities_over_their_deviation() -> None:
    log_ref = torch.log_softmax(torch.randn(20, 3), -1)
    utilities = torch.randn(20, 3)
    expected = centred(utilities, log_ref) / reference_scale(utilities, log_ref)
    assert torch.allclose(combined([utilities], log_ref), expected, atol=1e-5)


def test_pessimism_prefers_what_the_members_agree_on() -> None:
    """Two classes with the same mean reward, one of which the members disagree about."""
    log_ref = torch.full((1, 3), 1 / 3).log()
    first, second = torch.tensor([[1.0, 3.0, -4.0]]), torch.tensor([[1.0, -1.0, 0.0]])
    scale = reference_scale(first, log_ref) / reference_scale(second, log_ref)
    utilities = [first, scale * second]
    plain, careful = combined(utilities, log_ref)[0], combined(utilities, log_ref, 1.0)[0]
    assert careful[0] - careful[1] > plain[0] - plain[1]


def test_centring_by_hand() -> None:
    log_ref = torch.tensor([[0.25, 0.75]]).log()
    assert torch.allclose(centred(torch.tensor([[4.0, 0.0]]), log_ref), torch.tensor([[3.0, -1.0]]))
    assert reference_scale(torch.tensor([[4.0, 0.0]]), log_ref) == pytest.approx((0.25 * 9 + 0.75 * 1) ** 0.5)


def test_a_reloaded_reward_model_gives_the_same_rewards_bit_for_bit(tmp_path: Path) -> None:
    """Three members that share all but the last layer, their scales, pessimism and ties; the prefix is stored once."""
    networks = [network() for _ in range(3)]
    for number, one in enumerate(networks):
        torch.manual_seed(number)
        torch.nn.init.normal_(one.fc.weight)  # type: ignore[union-attr, arg-type]
    images, log_ref = torch.randn(6, 3, 32, 32), torch.log_softmax(torch.randn(6, 3), -1)
    for one in networks:
        one.eval()
    with torch.no_grad():
        model = RewardModel.fitted(networks, [one(images) for one in networks], log_ref, tie=0.3, pessimism=0.5).eval()
        path = tmp_path / "r.safetensors"
        model.save(path, ModelHeader("reward", "resnet18", ("a", "b", "c"), 32, 32))
        again, _ = RewardModel.load(path)
        assert torch.equal(
            again.rewards([network(images) for network in again.networks], log_ref),
            model.rewards([network(images) for network in model.networks], log_ref),
        )
        assert torch.equal(
            again.spread([network(images) for network in again.networks], log_ref),
            model.spread([network(images) for network in model.networks], log_ref),
        )
    assert weights_hash(again) == weights_hash(model)
    alone = tmp_path / "one.safetensors"
    RewardModel(networks[:1], [1.0], 1.0).save(alone, ModelHeader("reward", "resnet18", ("a", "b", "c"), 32, 32))
    assert path.stat().st_size < 1.01 * alone.stat().st_size
