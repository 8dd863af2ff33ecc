# SPDX-License-Identifier: MIT
"""ART's own attacks, privacy attacks, defences and trainers on the spiking classifier.

What is asserted: they run, keep their budget, move the model's decisions, and their queries are counted.
"""

import sys

import numpy as np
import pytest
import torch
from art.attacks.evasion import (
    AdversarialPatchPyTorch,
    AutoProjectedGradientDescent,
    DeepFool,
    FastGradientMethod,
    FeatureAdversariesPyTorch,
    HopSkipJump,
    ProjectedGradientDescent,
    SquareAttack,
    UniversalPerturbation,
)
from art.attacks.inference.membership_inference import (
    MembershipInferenceBlackBox,
    MembershipInferenceBlackBoxRuleBased,
)
from art.defences.detector.poison import ActivationDefence, SpectralSignatureDefense
from art.defences.trainer import AdversarialTrainer, AdversarialTrainerFBFPyTorch
from art.estimators.classification import PyTorchClassifier
from spiking_stand_ins import CLASSES, SHAPE, TinyNetwork, events

from art_spiking.defences import BackgroundActivityFilter
from art_spiking.estimators import SpikingClassifier

EPS = 0.3


@pytest.fixture(scope="module")
def trained() -> SpikingClassifier:
    torch.manual_seed(0)
    clf = SpikingClassifier(TinyNetwork(), input_shape=SHAPE, nb_classes=CLASSES)
    clf.fit(*events(128, seed=1), batch_size=16, nb_epochs=10)
    return clf


@pytest.fixture(scope="module")
def sample(trained) -> tuple[np.ndarray, np.ndarray]:
    x, y = events(24, seed=2)
    right = trained.predict(x).argmax(1) == y
    assert right.mean() > 0.9
    return x[right][:16], y[right][:16]


@pytest.fixture(autouse=True)
def reproducible():
    """ART draws from numpy's and torch's global generators."""
    np.random.seed(0)  # noqa: NPY002 (ART's own source of randomness)
    torch.manual_seed(0)


def accuracy(clf: SpikingClassifier, x: np.ndarray, y: np.ndarray) -> float:
    return float((clf.predict(x).argmax(1) == y).mean())


def check_within(x_adv: np.ndarray, x: np.ndarray, eps: float = EPS) -> None:
    assert x_adv.shape == x.shape
    assert np.abs(x_adv - x).max() <= eps + 1e-6
    assert x_adv.min() >= 0
    assert x_adv.max() <= 1


def test_fast_gradient_method(trained, sample):
    x, y = sample
    with trained.counting() as count:
        x_adv = FastGradientMethod(trained, eps=EPS).generate(x, y)
    check_within(x_adv, x)
    assert accuracy(trained, x_adv, y) < 0.5
    assert count.backwards == len(x)


@pytest.mark.parametrize(("norm", "eps"), [(np.inf, EPS), (2, 6.0)])
def test_projected_gradient_descent(trained, sample, norm, eps):
    x, y = sample
    attack = ProjectedGradientDescent(
        trained, norm=norm, eps=eps, eps_step=eps / 4, max_iter=8, verbose=False
    )
    with trained.counting() as count:
        x_adv = attack.generate(x, y)
    assert np.linalg.norm((x_adv - x).reshape(len(x), -1), ord=norm, axis=1).max() <= eps + 1e-4
    assert accuracy(trained, x_adv, y) < 0.3
    assert count.backwards == 8 * len(x)
    assert count.forwards >= 8 * len(x)


@pytest.mark.parametrize("loss", [None, "cross_entropy", "difference_logits_ratio"])
def test_auto_pgd_rebuilds_a_classifier_and_is_counted_all_the_same(trained, sample, loss):
    x, y = sample
    attack = AutoProjectedGradientDescent(
        trained, eps=EPS, eps_step=0.1, max_iter=6, nb_random_init=1, loss_type=loss, verbose=False
    )
    assert loss is None or type(attack.estimator) is PyTorchClassifier
    with trained.counting() as count:
        x_adv = attack.generate(x, y)
    check_within(x_adv, x)
    assert accuracy(trained, x_adv, y) < 0.3
    assert count.backwards >= 6 * len(x)
    assert not any(parameter.requires_grad for parameter in trained.model.parameters())


def test_auto_pgd_sees_through_the_filter(trained, sample):
    x, y = sample
    noise_filter = BackgroundActivityFilter(1_000, 1_000, support=2)
    defended = SpikingClassifier(
        trained.model.network, input_shape=SHAPE, preprocessing_defences=noise_filter
    )
    right = defended.predict(x).argmax(1) == y
    assert right.sum() >= 8
    attack = AutoProjectedGradientDescent(
        defended,
        eps=EPS,
        eps_step=0.1,
        max_iter=6,
        nb_random_init=1,
        loss_type="cross_entropy",
        verbose=False,
    )
    with defended.counting() as count:
        x_adv = attack.generate(x[right], y[right])
    assert count.backwards > 0
    assert accuracy(defended, x_adv, y[right]) < 0.5


def test_deepfool(trained, sample):
    x, y = sample
    x_adv = DeepFool(trained, max_iter=20, verbose=False).generate(x, y)
    assert accuracy(trained, x_adv, y) < 0.6
    per_sample = np.linalg.norm((x_adv - x).reshape(len(x), -1), axis=1)
    assert per_sample.max() < np.linalg.norm(np.ones(SHAPE))


@pytest.mark.parametrize("attacker", ["pgd", "deepfool"])
def test_universal_perturbation(trained, sample, attacker):
    x, y = sample
    attack = UniversalPerturbation(
        trained,
        attacker=attacker,
        attacker_params={"max_iter": 3, "verbose": False},
        eps=EPS,
        norm=np.inf,
        delta=0.2,
        max_iter=2,
        verbose=False,
    )
    x_adv = attack.generate(x, y)
    assert attack.noise.shape == (1, *SHAPE)
    check_within(x_adv, x)
    assert accuracy(trained, x_adv, y) < 1.0


def test_hop_skip_jump(trained, sample):
    x, y = (part[:2] for part in sample)
    attack = HopSkipJump(trained, max_iter=2, max_eval=100, init_eval=10, init_size=50, verbose=False)
    with trained.counting() as count:
        x_adv = attack.generate(x, y)
    assert x_adv.shape == x.shape
    assert accuracy(trained, x_adv, y) == 0.0
    assert count.forwards > 100
    assert count.backwards == 0


def test_square_attack_on_the_folded_view(trained, sample):
    x, y = sample
    folded = trained.folded()
    attack = SquareAttack(folded, eps=EPS, max_iter=60, nb_restarts=1, verbose=False)
    with trained.counting() as count:
        x_adv = folded.unfold(attack.generate(folded.fold(x), y))
    check_within(x_adv, x)
    assert accuracy(trained, x_adv, y) < 0.8
    assert count.forwards > 60
    assert count.backwards == 0


@pytest.fixture
def torchvision(monkeypatch):
    """The real torchvision where it is installed and loads; else what the patch attack calls of it."""
    try:
        import torchvision as real
    except (ImportError, RuntimeError):  # RuntimeError: a build for another torch
        import torchvision_stand_in

        for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
            monkeypatch.delitem(sys.modules, name)
        monkeypatch.setitem(sys.modules, "torchvision", torchvision_stand_in)
    else:
        return real


@pytest.mark.usefixtures("torchvision")
@pytest.mark.parametrize("optimizer", ["Adam", "pgd"])
def test_adversarial_patch_on_the_folded_view_varies_over_time(trained, sample, optimizer):
    x, y = sample
    folded = trained.folded()
    attack = AdversarialPatchPyTorch(
        folded,
        rotation_max=0.0,
        scale_min=0.75,
        scale_max=0.75,
        learning_rate=0.2,
        max_iter=30,
        batch_size=16,
        patch_shape=(SHAPE[0] * SHAPE[1], 5, 5),
        patch_type="square",
        optimizer=optimizer,
        verbose=False,
    )
    with trained.counting() as count:
        patch, mask = attack.generate(folded.fold(x), np.eye(CLASSES)[y])
    x_adv = folded.unfold(attack.apply_patch(folded.fold(x), scale=0.75).astype(np.float32))
    assert patch.shape == mask.shape == (SHAPE[0] * SHAPE[1], 5, 5)
    assert np.ptp(patch, axis=0).max() > 0.1
    assert count.backwards >= 30 * len(x)
    touched = (x_adv != x).any(axis=(1, 2)).mean(axis=(1, 2))
    assert 0 < touched.max() <= 0.75**2 + 0.1
    assert accuracy(trained, x_adv, y) < 0.8


def test_feature_adversaries_take_mean_activity(trained, sample):
    x, _ = (part[:4] for part in sample)
    source, guide = x[:2], x[2:]
    attack = FeatureAdversariesPyTorch(
        trained,
        delta=0.3,
        layer="linear",
        max_iter=5,
        batch_size=2,
        step_size=0.1,
        random_start=False,
        verbose=False,
    )
    x_adv = attack.generate(source, guide)
    check_within(x_adv, source)

    def distance(batch: np.ndarray) -> float:
        difference = trained.get_activations(batch, "linear") - trained.get_activations(guide, "linear")
        return float(np.linalg.norm(difference))

    assert distance(x_adv) < distance(source)


def test_membership_inference_by_rule(trained):
    members, labels = events(40, seed=1)
    inferred = MembershipInferenceBlackBoxRuleBased(trained).infer(members, labels)
    np.testing.assert_array_equal(inferred, (trained.predict(members).argmax(1) == labels).astype(int))


def test_membership_inference_by_a_learned_attack(trained):
    members, labels = events(60, seed=1)
    others, other_labels = events(60, seed=9)
    attack = MembershipInferenceBlackBox(trained, attack_model_type="lr")
    attack.fit(members[:40], labels[:40], others[:40], other_labels[:40])
    inferred = attack.infer(members[40:], labels[40:])
    assert inferred.shape == (20, 1) or inferred.shape == (20,)
    assert set(np.unique(inferred)) <= {0, 1}


def test_poison_detectors_read_the_activity(trained):
    x, y = events(60, seed=4)
    _, clean = ActivationDefence(trained, x, np.eye(CLASSES)[y]).detect_poison(nb_clusters=2, nb_dims=3)
    assert len(clean) == len(x)
    _, clean = SpectralSignatureDefense(
        trained, x, np.eye(CLASSES)[y], expected_pp_poison=0.1
    ).detect_poison()
    assert 0.5 * len(x) < sum(clean) < len(x)


def test_adversarial_trainer_makes_the_model_more_robust(trained):
    x, y = events(96, seed=5)
    torch.manual_seed(0)
    clf = SpikingClassifier(TinyNetwork(), input_shape=SHAPE, nb_classes=CLASSES)
    clf.fit(x, y, batch_size=16, nb_epochs=5)
    attack = ProjectedGradientDescent(clf, eps=0.15, eps_step=0.05, max_iter=4, verbose=False)
    before = accuracy(clf, attack.generate(x, y), y)
    AdversarialTrainer(clf, attack, ratio=0.5).fit(x, np.eye(CLASSES)[y], batch_size=16, nb_epochs=6)
    assert accuracy(clf, attack.generate(x, y), y) > before
    assert not any(parameter.requires_grad for parameter in clf.model.parameters())
    assert not clf.model.training


def test_a_trainer_that_steps_the_optimizer_itself_runs_inside_trainable():
    x, y = events(32, seed=6)
    network = TinyNetwork()
    clf = SpikingClassifier(
        network, input_shape=SHAPE, optimizer=torch.optim.Adam(network.parameters(), lr=0.01)
    )
    before = network.linear.weight.clone()
    with clf.trainable():
        AdversarialTrainerFBFPyTorch(clf, eps=0.1).fit(x, np.eye(CLASSES)[y], batch_size=16, nb_epochs=1)
    assert not torch.equal(network.linear.weight, before)
    assert network.linear.weight.grad is None
    assert not any(parameter.requires_grad for parameter in network.parameters())
