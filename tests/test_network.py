# SPDX-License-Identifier: MIT
"""SpikingNetwork: shapes, statelessness, views, identity, errors, and training."""

import copy
import dataclasses
import itertools
import pickle

import nir
import numpy as np
import pytest
import torch
from torch.nn import functional

from art_spiking import network as network_module
from art_spiking.building import Conv, Dense, Flat, Neurons, SumPool, plan_graph
from art_spiking.errors import DifferentTimeStep, InvalidInput, InvalidModel, SemanticsNotStated, UnknownName
from art_spiking.graphs import GraphSpec, NodeSpec
from art_spiking.layers import NeuronLayer, Pooling
from art_spiking.network import SpikingNetwork
from art_spiking.neurons import PRESETS, NeuronSemantics
from art_spiking.surrogates import Atan, StraightThrough, Triangle

SEMANTICS = NeuronSemantics(reset="subtract", v_min=-1.0, fires="ge")
SHAPE = (2, 8, 8)
PLAN = [
    Conv(4, 3, stride=2, padding=1, gain=3.0),
    Neurons("IF"),
    SumPool(2),
    Conv(3, 2, gain=3.0),
    Neurons("LIF", tau_us=4000, r=6.0),
    Flat(),
    Dense(5, gain=3.0),
    Neurons("CubaLIF", tau_us=4000, tau_syn_us=2000, r=12.0),
]


def random_generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def network() -> SpikingNetwork:
    return SpikingNetwork.sequential(
        SHAPE, PLAN, semantics=SEMANTICS, dt_us=1000, generator=random_generator()
    )


def events(samples: int, steps: int, seed: int = 1) -> torch.Tensor:
    return (torch.rand(samples, steps, *SHAPE, generator=random_generator(seed)) < 0.3).float()


def stepped(network: SpikingNetwork, x: torch.Tensor) -> torch.Tensor:
    """The network in plain torch, layer by layer and sample by sample, scans by the reference."""
    outputs = []
    for sample in x.unbind(0):
        frames = sample
        for layer in network.layers:
            if isinstance(layer, NeuronLayer):
                layer.backend = "reference"
                frames = layer(frames.unsqueeze(0))[0][0]
                layer.backend = "auto"
            elif isinstance(layer, Pooling):
                frames = 4 * functional.avg_pool2d(frames, 2)
            elif layer.spec.type == "Conv2d":
                stride = layer.spec.attributes["stride"]
                padding = layer.spec.attributes["padding"]
                frames = functional.conv2d(frames, layer.weight, layer.bias, stride, padding)
            elif layer.spec.type == "Affine":
                frames = functional.linear(frames, layer.weight, layer.bias)
            else:
                frames = frames.flatten(1)
        outputs.append(frames)
    return torch.stack(outputs)


class TestForward:
    def test_spikes_and_gradients_equal_a_plain_stepping(self, network: SpikingNetwork, monkeypatch):
        monkeypatch.setattr(network_module, "_FRAMES_AT_ONCE", 30)  # several shares, the last one smaller
        network.double()
        x, same = (events(7, 12).double().requires_grad_() for _ in range(2))
        ours, expected = network(x), stepped(network, same)
        assert 0.02 < ours.mean() < 0.9
        assert torch.equal(ours, expected)
        direction = torch.randn(ours.shape, generator=random_generator(2), dtype=torch.float64)
        parameters = list(network.parameters())
        found = torch.autograd.grad((ours * direction).sum(), (x, *parameters))
        wanted = torch.autograd.grad((expected * direction).sum(), (same, *parameters))
        for a, b in zip(found, wanted, strict=True):
            assert b.abs().sum() > 0
            assert torch.allclose(a, b, rtol=1e-9, atol=1e-9)

    def test_shapes(self, network: SpikingNetwork):
        x = events(3, 6)
        assert network.input_shape == SHAPE
        assert network.output_shape == (5,)
        assert network.node_names == tuple("01234567")
        assert network(x).shape == network.membrane(x).shape == (3, 6, 5)
        shapes = {name: tuple(output.shape) for name, output in network.activity(x).items()}
        assert shapes == {"1": (3, 6, 4, 4, 4), "4": (3, 6, 3, 1, 1), "7": (3, 6, 5)}

    def test_activity_ends_in_the_output(self, network: SpikingNetwork):
        x = events(3, 6)
        assert torch.equal(network.activity(x)["7"], network(x))

    def test_membrane_fires_where_it_passes_the_threshold(self, network: SpikingNetwork):
        x = events(3, 20)
        spikes = network(x)
        assert 0 < spikes.sum() < spikes.numel()
        assert torch.equal((network.membrane(x) >= 1.0).float(), spikes)

    def test_membrane_of_leaky_integrators_is_the_output(self):
        plan = [Flat(), Dense(4), Neurons("LI", tau_us=5000)]
        network = SpikingNetwork.sequential(SHAPE, plan, dt_us=1000, generator=random_generator())
        x = events(2, 5)
        assert torch.equal(network.membrane(x), network(x))
        assert len(torch.unique(network(x))) > 2

    def test_no_state_is_kept(self, network: SpikingNetwork):
        x = events(3, 6)
        first = network(x)
        network(events(5, 9, seed=3))
        assert torch.equal(network(x), first)
        assert all(not isinstance(v, torch.Tensor) for v in vars(network).values())

    def test_a_sample_does_not_see_its_batch(self, network: SpikingNetwork, monkeypatch):
        x = events(9, 6)
        whole = network(x)
        monkeypatch.setattr(network_module, "_FRAMES_AT_ONCE", 12)
        assert torch.equal(network(x), whole)
        assert torch.equal(network(x[4:5]), whole[4:5])

    @pytest.mark.parametrize(("samples", "steps"), [(0, 4), (1, 1)])
    def test_few_or_none(self, network: SpikingNetwork, samples: int, steps: int):
        x = events(samples, steps).requires_grad_()
        output = network(x)
        assert output.shape == network.membrane(x).shape == (samples, steps, 5)
        (gradient,) = torch.autograd.grad(output.sum(), x)
        assert gradient.shape == x.shape

    def test_float64_and_integers_are_cast(self, network: SpikingNetwork):
        x = events(2, 5)
        expected = network(x)
        for other in (x.double(), x.to(torch.uint8)):
            assert network(other).dtype == torch.float32
            assert torch.equal(network(other), expected)

    def test_inference_needs_no_graph(self, network: SpikingNetwork):
        with torch.inference_mode():
            output = network(events(2, 5))
        assert not output.requires_grad

    def test_frozen_weights_still_give_input_gradients(self, network: SpikingNetwork):
        network.requires_grad_(False)
        x = events(2, 8).requires_grad_()
        network(x).sum().backward()
        assert x.grad is not None
        assert x.grad.abs().sum() > 0
        assert all(parameter.grad is None for parameter in network.parameters())

    @pytest.mark.parametrize(
        "shape", [(3, 6, 2, 8), (3, 6, 8, 8, 2), (2, 8, 8), (3, 6, 2, 8, 9), (6,)], ids=str
    )
    def test_a_wrong_shape_is_answered_with_the_axes(self, network: SpikingNetwork, shape):
        with pytest.raises(InvalidInput) as error:
            network(torch.zeros(shape))
        assert error.value.found == shape
        assert error.value.accepted == "(N, T, C, H, W) = (N, T, 2, 8, 8)"

    def test_an_array_is_not_a_tensor(self, network: SpikingNetwork):
        with pytest.raises(InvalidInput, match=r"found: ndarray.*torch.as_tensor"):
            network(np.zeros((1, 2, *SHAPE)))


class TestViews:
    def test_another_surrogate_changes_gradients_and_no_spike(self, network: SpikingNetwork):
        view = network.with_surrogate(StraightThrough())
        x = events(2, 8).requires_grad_()
        assert torch.equal(view(x), network(x))
        ours, theirs = (torch.autograd.grad(n(x).sum(), x)[0] for n in (view, network))
        assert not torch.allclose(ours, theirs)
        assert (view.surrogate, network.surrogate) == (StraightThrough(), Atan())
        assert view.digest() == network.digest()

    def test_views_share_weights(self, network: SpikingNetwork):
        view = network.with_surrogate(Triangle()).with_semantics("norse")
        assert [id(p) for p in view.parameters()] == [id(p) for p in network.parameters()]
        with torch.no_grad():
            view.layers[0].weight.add_(1)
        assert view.to_graph().digest() == network.to_graph().digest()

    def test_another_semantics_is_another_model(self, network: SpikingNetwork):
        other = network.with_semantics("norse")
        x = events(2, 20)
        assert not torch.equal(other(x), network(x))
        assert other.digest() != network.digest()
        assert other.semantics == PRESETS["norse"]
        back = other.with_semantics(SEMANTICS)
        assert torch.equal(back(x), network(x))
        assert back.digest() == network.digest()

    def test_views_keep_type_and_mode(self, network: SpikingNetwork):
        view = network.double().eval().with_surrogate(Triangle())
        assert not view.training
        assert view(events(1, 3)).dtype == torch.float64

    def test_the_pooling_gradient_belongs_to_the_semantics(self, network: SpikingNetwork):
        lp = network.with_semantics(dataclasses.replace(SEMANTICS, pool_gradient="lp"))
        x = events(2, 8).requires_grad_()
        assert torch.equal(lp(x), network(x))
        ours, average = (torch.autograd.grad(n(x).sum(), x)[0] for n in (lp, network))
        assert (ours != 0).sum() < (average != 0).sum()


class TestIdentity:
    def test_the_digest_is_of_graph_weights_semantics_and_dt(self, network: SpikingNetwork):
        digest = network.digest()
        assert digest.startswith("sha256:")
        again = SpikingNetwork.from_graph(network.to_graph(), semantics=SEMANTICS, dt_us=1000)
        assert again.digest() == digest
        other_dt = SpikingNetwork.from_graph(network.to_graph(), semantics=SEMANTICS, dt_us=500)
        assert other_dt.digest() != digest
        with torch.no_grad():
            network.layers[0].weight[0, 0, 0, 0] += 1e-3
        assert network.digest() != digest

    def test_a_network_of_its_graph_is_the_same(self, network: SpikingNetwork):
        with torch.no_grad():
            network.layers[6].weight.mul_(1.5)
        again = SpikingNetwork.from_graph(network.to_graph(), semantics=SEMANTICS, dt_us=1000)
        x = events(2, 8)
        assert torch.equal(again(x), network(x))

    def test_float64_weights_of_a_file_are_not_rounded_in_the_graph(self):
        graph = plan_graph(SHAPE, [Flat(), Dense(3), Neurons()], random_generator())
        nodes = dict(graph.nodes)
        weight = nodes["1"].arrays["weight"].astype(np.float64) + 1e-12
        nodes["1"] = NodeSpec("Affine", {}, {"weight": weight, "bias": np.zeros(3)})
        graph = GraphSpec(nodes, graph.edges)
        network = SpikingNetwork.from_graph(graph)
        assert next(network.parameters()).dtype == torch.float32
        assert network.to_graph().digest() == network.double().to_graph().digest() == graph.digest()

    @pytest.mark.parametrize(
        "copied", [copy.deepcopy, lambda n: pickle.loads(pickle.dumps(n))], ids=["deepcopy", "pickle"]
    )
    def test_copies(self, network: SpikingNetwork, copied):
        x = events(2, 8)
        network(x.requires_grad_()).sum().backward()
        twin = copied(network.with_surrogate(Triangle(0.5)))
        assert torch.equal(twin(x), network(x))
        assert twin.digest() == network.digest()
        assert twin.surrogate == Triangle(0.5)
        with torch.no_grad():
            twin.layers[0].weight.zero_()
        assert twin.digest() != network.digest()

    def test_the_state_dict_fits(self, network: SpikingNetwork):
        other = SpikingNetwork.sequential(
            SHAPE, PLAN, semantics=SEMANTICS, dt_us=1000, generator=random_generator(5)
        )
        assert other.digest() != network.digest()
        other.load_state_dict(network.state_dict())
        assert other.digest() == network.digest()

    def test_repr_says_the_semantics(self, network: SpikingNetwork):
        assert "reset='subtract'" in repr(network)
        assert "dt_us=1000" in repr(network)


class TestGraphs:
    def test_every_node_type_runs(self):
        one = np.ones((2, 9), np.float32)
        leaky = {"tau": one * 5e-3, "r": one, "v_leak": 0 * one}
        rng = np.random.default_rng(0)
        conv = {
            "weight": rng.normal(size=(2, 3, 3)).astype(np.float32),
            "bias": np.zeros(2, np.float32),
        }
        nodes = {
            "in": NodeSpec("Input", {"shape": (3, 9)}),
            "conv": NodeSpec("Conv1d", {"stride": 1, "padding": "same", "dilation": 1, "groups": 1}, conv),
            "scale": NodeSpec("Scale", {}, {"scale": 3 * one}),
            "threshold": NodeSpec("Threshold", {}, {"threshold": one}),
            "lif": NodeSpec("LIF", {}, {**leaky, "r": 9 * one, "v_threshold": one}),
            "flat": NodeSpec("Flatten", {"start_dim": 0, "end_dim": -1}),
            "linear": NodeSpec("Linear", {}, {"weight": rng.normal(size=(4, 18)).astype(np.float32)}),
            "li": NodeSpec("LI", {}, {k: v[0, :4] for k, v in leaky.items()}),
            "out": NodeSpec("Output", {"shape": (4,)}),
        }
        names = list(nodes)
        graph = GraphSpec(nodes, tuple(itertools.pairwise(names)))
        network = SpikingNetwork.from_graph(graph, dt_us=1000)
        x = torch.rand(2, 7, 3, 9, generator=random_generator(), requires_grad=True)
        activity = network.activity(x)
        assert {name: tuple(v.shape) for name, v in activity.items()} == {
            "threshold": (2, 7, 2, 9),
            "lif": (2, 7, 2, 9),
            "li": (2, 7, 4),
        }
        assert 0 < activity["threshold"].mean() < 1
        assert 0 < activity["lif"].mean() < 1
        (gradient,) = torch.autograd.grad(activity["li"].sum(), x)
        assert gradient.abs().sum() > 0
        assert network.to_graph() == graph

    def test_average_pooling_and_padded_sums(self):
        pool = {"kernel_size": 2, "stride": 2, "padding": 1}
        nodes = {
            "in": NodeSpec("Input", {"shape": (1, 4, 4)}),
            "sum": NodeSpec("SumPool2d", pool),
            "average": NodeSpec("AvgPool2d", {**pool, "padding": 0, "stride": 1}),
            "out": NodeSpec("Output", {"shape": (1, 2, 2)}),
        }
        names = list(nodes)
        graph = GraphSpec(nodes, tuple(itertools.pairwise(names)))
        for gradient in ("average", "lp"):
            network = SpikingNetwork.from_graph(graph, semantics=NeuronSemantics(pool_gradient=gradient))
            x = torch.zeros(1, 1, 1, 4, 4)
            x[..., 0, 0] = 8.0
            x.requires_grad_()
            output = network(x)
            # The corner's window holds the one pixel and padding; a fourth of it lands in one average.
            assert output.flatten().tolist() == [2.0, 0.0, 0.0, 0.0]
            (by_x,) = torch.autograd.grad(output.sum(), x)
            assert (by_x != 0).sum() == (16 if gradient == "average" else 1)

    @pytest.mark.parametrize("kind", ["Affine", "Linear"])
    def test_a_matrix_for_each_channel(self, kind: str):
        rng = np.random.default_rng(0)
        arrays = {"weight": rng.normal(size=(2, 4, 3)), "bias": rng.normal(size=(2, 4))}
        if kind == "Linear":
            del arrays["bias"]
        nodes = {
            "in": NodeSpec("Input", {"shape": (2, 3)}),
            "full": NodeSpec(kind, {}, arrays),
            "out": NodeSpec("Output", {"shape": (2, 4)}),
        }
        network = SpikingNetwork(GraphSpec(nodes, tuple(itertools.pairwise(nodes))))
        x = torch.randn(5, 6, 2, 3, generator=random_generator())
        found = network(x).detach().numpy()
        for channel in range(2):
            expected = x[:, :, channel].numpy() @ arrays["weight"][channel].T
            expected += arrays["bias"][channel] if kind == "Affine" else 0
            assert np.allclose(found[:, :, channel], expected, atol=1e-6)

    def test_a_nir_graph_in_memory(self):
        graph = nir.NIRGraph.from_list(
            nir.Affine(np.eye(3, dtype=np.float32), np.zeros(3, np.float32)),
            nir.IF(np.ones(3, np.float32), np.ones(3, np.float32)),
        )
        network = SpikingNetwork.from_nir(graph, semantics="spikingjelly")
        assert network(torch.ones(1, 2, 3)).flatten().tolist() == [1.0] * 6

    def test_an_unsupported_node_is_named(self):
        graph = nir.NIRGraph.from_list(nir.Scale(np.ones(3, np.float32)))
        graph.nodes["scale"].to_dict = lambda: {"type": "Softmax"}
        with pytest.raises(InvalidModel, match=r"(?s)'scale' \(Softmax\) type: expected one of.*CubaLIF"):
            SpikingNetwork.from_nir(graph)

    def test_weights_that_do_not_fit_are_named(self):
        plan = plan_graph((4,), [Dense(3), Neurons()], random_generator())
        nodes = dict(plan.nodes)
        nodes["0"] = NodeSpec("Affine", {}, {"weight": np.zeros((3, 5)), "bias": np.zeros(3)})
        with pytest.raises(InvalidModel, match=r"\b0\b.*\(5,\).*\(4,\)"):
            SpikingNetwork(GraphSpec(nodes, plan.edges))

    def test_a_missing_dt_names_the_node(self):
        graph = plan_graph(SHAPE, PLAN, random_generator())
        with pytest.raises(InvalidInput, match=r"node '4' \(LIF\): neurons with a time constant"):
            SpikingNetwork(graph, semantics=SEMANTICS)

    def test_a_network_without_neurons_has_no_membrane(self):
        network = SpikingNetwork(plan_graph((4,), [Dense(3)], random_generator()))
        x = torch.ones(2, 3, 4)
        assert network(x).shape == (2, 3, 3)
        with pytest.raises(InvalidModel, match="no neurons"):
            network.membrane(x)

    def test_layers_that_do_not_fit_on_each_other(self):
        with pytest.raises(InvalidModel, match="kernel_size"):
            plan_graph((4,), [SumPool(2)], random_generator())

    def test_neurons_without_their_time_constant(self):
        with pytest.raises(InvalidInput, match=r"CubaLIF neurons need a time constant.*tau_syn is None"):
            plan_graph((4,), [Neurons("CubaLIF", tau_us=1000.0)], random_generator())

    def test_the_same_generator_draws_the_same_weights(self):
        first, same, other = (plan_graph(SHAPE, PLAN, random_generator(seed)) for seed in (1, 1, 2))
        assert first.digest() == same.digest() != other.digest()


class TestNirFiles:
    def test_the_same_network_comes_back(self, network: SpikingNetwork, tmp_path):
        with torch.no_grad():
            network.layers[0].weight.mul_(1.25)
        network.to_nir(tmp_path / "a.nir")
        for source in (tmp_path / "a.nir", nir.read(tmp_path / "a.nir")):
            again = SpikingNetwork.from_nir(source)
            assert again.digest() == network.digest()
            assert again.to_graph().digest() == network.to_graph().digest()
            assert (again.semantics, again.dt_us) == (SEMANTICS, 1000)
        x = events(2, 9)
        assert torch.equal(again(x), network(x))

    def test_what_is_asked_for_comes_before_what_is_stated(self, network: SpikingNetwork, tmp_path):
        network.to_nir(tmp_path / "a.nir")
        with pytest.warns(DifferentTimeStep, match="states steps of 1000 µs; at 500 µs"):
            asked = SpikingNetwork.from_nir(tmp_path / "a.nir", semantics="norse", dt_us=500)
        assert (asked.semantics, asked.dt_us) == (PRESETS["norse"], 500)

    def test_what_nothing_states_is_nirs(self):
        graph = nir.NIRGraph.from_list(nir.IF(np.ones(3, np.float32), np.ones(3, np.float32)))
        with pytest.warns(SemanticsNotStated, match=r"\(layer 'if', IF\), and those printed in NIR"):
            network = SpikingNetwork.from_nir(graph)
        assert (network.semantics, network.dt_us) == (PRESETS["nir"], None)

    @pytest.mark.parametrize(
        ("stated", "said"),
        [
            ({"semantics": "lava"}, "no such neuron semantics; asked: 'lava'"),
            ({"dt_us": "soon"}, "the metadata's dt_us cannot be used; found: 'soon'"),
            ({"dt_us": 0}, "the metadata's dt_us cannot be used; found: 0"),
        ],
    )
    def test_metadata_that_cannot_be_used(self, stated, said):
        graph = nir.NIRGraph.from_list(nir.IF(np.ones(3, np.float32), np.ones(3, np.float32)))
        graph.metadata = {"semantics": "nir"} | stated
        with pytest.raises((InvalidInput, UnknownName), match=said):
            SpikingNetwork.from_nir(graph)
        assert SpikingNetwork.from_nir(graph, semantics="nir", dt_us=1000).dt_us == 1000

    def test_shapes_that_a_graph_leaves_out_are_filled_in(self, tmp_path):
        conv = {"stride": 1, "padding": 0, "dilation": 1, "groups": 1}
        arrays = {"weight": np.ones((2, 1, 3, 3), np.float32), "bias": np.zeros(2, np.float32)}
        nodes = {
            "in": NodeSpec("Input", {"shape": (1, 5, 5)}),
            "conv": NodeSpec("Conv2d", conv, arrays),
            "if": NodeSpec("IF", {}, {"r": np.float32(1), "v_threshold": np.float32(2)}),
            "out": NodeSpec("Output", {"shape": (2, 3, 3)}),
        }
        network = SpikingNetwork.from_graph(GraphSpec(nodes, tuple(itertools.pairwise(nodes))))
        network.to_nir(tmp_path / "a.nir")
        first = SpikingNetwork.from_nir(tmp_path / "a.nir")
        assert first.digest() != network.digest()
        x = torch.rand(2, 4, 1, 5, 5, generator=random_generator())
        assert torch.equal(first(x), network(x))
        first.to_nir(tmp_path / "b.nir")
        assert SpikingNetwork.from_nir(tmp_path / "b.nir").digest() == first.digest()

    def test_a_network_that_nir_cannot_read_back(self, tmp_path):
        conv = {"stride": 1, "padding": 0, "dilation": 1, "groups": 1}
        arrays = {"weight": np.ones((2, 1, 3, 2), np.float32), "bias": np.zeros(2, np.float32)}
        nodes = {
            "in": NodeSpec("Input", {"shape": (1, 5, 5)}),
            "conv": NodeSpec("Conv2d", conv, arrays),
            "out": NodeSpec("Output", {"shape": (2, 3, 4)}),
        }
        network = SpikingNetwork.from_graph(GraphSpec(nodes, tuple(itertools.pairwise(nodes))))
        with pytest.raises(InvalidModel, match="accepted: convolutions with square kernels and"):
            network.to_nir(tmp_path / "a.nir")
        assert not (tmp_path / "a.nir").exists()
        network.to_nir(tmp_path / "a.nir", check=False)
        assert SpikingNetwork.from_nir(tmp_path / "a.nir").output_shape == (2, 3, 4)

    @pytest.mark.data
    @pytest.mark.parametrize(
        ("name", "semantics", "dt_us"), [("cnn_sinabs", "sinabs", None), ("lif_norse", "norse", 100.0)]
    )
    def test_community_networks_come_back_with_their_digest(
        self, shared_data, tmp_path, name, semantics, dt_us
    ):
        path = shared_data / "nir" / f"{name}.nir"
        network = SpikingNetwork.from_nir(path, semantics=semantics, dt_us=dt_us)
        network.to_nir(tmp_path / "a.nir")
        again = SpikingNetwork.from_nir(tmp_path / "a.nir")
        assert again.to_graph().digest() == network.to_graph().digest()
        assert again.digest() == network.digest()
        assert nir.read(tmp_path / "a.nir").nodes.keys() == nir.read(path).nodes.keys()


def test_training_finds_a_teacher():
    """A few steps of Adam bring the spike counts near those asked for: gradients point downhill."""
    generator = random_generator(4)
    plan = [Flat(), Dense(20, gain=2.0), Neurons(), Dense(2, gain=2.0), Neurons()]
    network = SpikingNetwork.sequential(SHAPE, plan, semantics=SEMANTICS, generator=generator)
    x = events(32, 10)
    y = (torch.arange(32) % 2).long()
    x[y == 1, :, 0] *= 0.3
    optimizer = torch.optim.Adam(network.parameters(), lr=5e-3)
    for _ in range(40):
        optimizer.zero_grad()
        loss = functional.cross_entropy(network(x).sum(1), y)
        loss.backward()
        optimizer.step()
    assert (network(x).sum(1).argmax(1) == y).float().mean() > 0.95
