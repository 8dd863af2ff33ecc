# SPDX-License-Identifier: MIT
"""A framework's model as a network of art-spiking: batch first, stateless between calls, any surrogate."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, get_args

import torch
from torch import Tensor, nn

from art_spiking.errors import ArtSpikingError, InvalidInput, InvalidModel
from art_spiking.frameworks.adapters import FrameworkAdapter, Layout
from art_spiking.frameworks.lookup import framework_adapter
from art_spiking.frameworks.recording import attributes_kept, outputs_kept, over_time
from art_spiking.surrogates import GradientPath, Surrogate

LAYOUTS: tuple[str, ...] = get_args(Layout)
"""The names of the layouts."""

_TAKES = {
    "step": "(N, *F), one step at a time",
    "step-state": "(N, *F) and its own state, one step at a time",
    "TN": "(T, N, *F)",
    "NT": "(N, T, *F)",
    "merged": "(N*T, *F)",
}


class FrameworkNetwork(nn.Module):
    """Runs a framework's own code on recordings (N, T, *F), and returns what it returns, batch first.

    Every call starts from, and leaves behind, the state of a model that was never called; tensors that the
    model keeps in attributes of its own, such as `self.mem`, are put back as they were. The layouts:

    | layout | how the model is called | what it returns |
    | --- | --- | --- |
    | step | `model(x[:, t])` for every t; it keeps its state itself | (N, K) per step |
    | step-state | `model(x[:, t], *state)`; at first without a state | (N, K) and the next state |
    | TN | `model(x)` once, x (T, N, *F) | (T, N, K), or (N, K) |
    | NT | `model(x)` once, x (N, T, *F) | (N, T, K), or (N, K) |
    | merged | `model(x)` once, x (N*T, *F), sample by sample | (N*T, K) |

    In each, a tuple is (spikes, ..., membrane potential), as the adapter's `split` reads it.

    Attributes:
        model: The framework's model; it is shared, not copied, and its weights stay its own.
        adapter: What knows the framework.
        layout: How the model takes a recording.
    """

    def __init__(
        self,
        model: nn.Module,
        framework: str | FrameworkAdapter | None = None,
        *,
        layout: Layout | None = None,
        surrogate: GradientPath | None = None,
    ) -> None:
        """Finds the adapter and forgets the model's state.

        Args:
            model: A module of a spiking framework.
            framework: Its name, an adapter, or None to recognise it.
            layout: How the model takes a recording; by default the adapter tells from the model.
            surrogate: The derivative of every spike; by default each layer's own.

        Raises:
            InvalidModel: No framework recognises the model.
            InvalidInput: No such layout, or a surrogate that the framework cannot take.
            MissingDependency: The framework, or the plugin for it, is not installed.
        """
        super().__init__()
        self.adapter = framework_adapter(framework, model)
        self.layout: Layout = self.adapter.layout(model) if layout is None else layout
        if self.layout not in LAYOUTS:
            raise InvalidInput("no such layout", asked=repr(layout), accepted=", ".join(LAYOUTS))
        self.model = model
        if surrogate is not None and not isinstance(surrogate, Surrogate):
            raise InvalidInput(
                "a framework's own code can be given a surrogate, and no other gradient path",
                asked=repr(surrogate),
                accepted="a Surrogate",
                remedy="run it as a SpikingNetwork (frameworks.compile_network), or choose a surrogate",
            )
        self._surrogate = surrogate
        if surrogate is not None:
            with self.adapter.using(model, surrogate):
                pass  # the adapter refuses here what it cannot take
        self.adapter.reset(model)

    @property
    def surrogate(self) -> Surrogate | None:
        """The surrogate of all neurons, or None where the layers' own differ or are not known."""
        return self.adapter.surrogate(self.model) if self._surrogate is None else self._surrogate

    def with_surrogate(self, surrogate: GradientPath) -> FrameworkNetwork:
        """The same network over the same model, with another derivative of the spike.

        Raises:
            InvalidInput: A surrogate that the framework cannot take.
        """
        view = FrameworkNetwork(self.model, self.adapter, layout=self.layout, surrogate=surrogate)
        view.training = self.training
        return view

    def forward(self, x: Tensor) -> Tensor:
        """What the model returns for x (N, T, *F): (N, T, K), or (N, K) where it sums over time itself.

        Raises:
            InvalidInput: The model's output does not fit its layout.
        """
        return self._run(x)[0]

    def membrane(self, x: Tensor) -> Tensor:
        """The membrane potential (N, T, K) that the model returns beside its spikes, for x (N, T, *F).

        Raises:
            InvalidInput: The model returns none.
        """
        _, potential = self._run(x)
        if potential is None:
            raise InvalidInput(
                "the model returns no membrane potential",
                found="spikes alone",
                accepted="a tuple (spikes, ..., potential)",
                remedy="let its last layer return it (in snnTorch: output=True), or use readout spike-count",
            )
        return potential

    def activity(self, x: Tensor) -> dict[str, Tensor]:
        """The spikes (N, T, *F) of every neuron layer by name, for x as in `forward`.

        Raises:
            InvalidModel: A layer that takes no part, or not at every step.
        """
        with outputs_kept(self.adapter.neurons(self.model), self.adapter) as kept:
            self._run(x)
        return over_time(kept, (x.shape[0], x.shape[1]), self.layout)

    def check_samples(self, sample_shape: tuple[int, ...]) -> None:
        """Checks that the output of a sample does not depend on the others, as under a wrong layout it does.

        Args:
            sample_shape: One recording, (T, C, H, W) or (T, F).

        Raises:
            InvalidInput: It does, or the model does not take such a recording in its layout.
        """
        like = next((p for p in self.model.parameters() if p.is_floating_point()), torch.zeros(()))
        generator = torch.Generator().manual_seed(0)
        last = (torch.rand(sample_shape, generator=generator) < 0.5).to(like.device, like.dtype)
        training = {module: module.training for module in self.modules()}
        self.eval()
        try:
            with torch.no_grad():
                quiet, loud = (
                    self(torch.stack([torch.full_like(last, value), last, last]))[-1] for value in (0, 1)
                )
        except (RuntimeError, ValueError, IndexError, TypeError) as error:
            if isinstance(error, ArtSpikingError):
                raise
            raise InvalidInput(
                f"the model does not take a recording in the layout '{self.layout}'",
                asked=f"recordings (N, {', '.join(str(size) for size in sample_shape)})",
                found=f"{type(error).__name__}: {error}",
                accepted=f"the model called with {_TAKES[self.layout]}",
                remedy=f"name another layout ({', '.join(LAYOUTS)}), or mend input_shape",
            ) from error
        finally:
            for module, mode in training.items():
                module.training = mode
        if not torch.equal(quiet, loud):
            raise InvalidInput(
                "the model's output for one sample depends on another sample",
                asked=f"layout '{self.layout}', the model called with {_TAKES[self.layout]}",
                remedy=f"name another layout ({', '.join(LAYOUTS)}): this one takes samples for steps",
            )

    def extra_repr(self) -> str:
        """What is not said by the model; not the surrogate, which is no part of a model's identity."""
        return f"framework={self.adapter.name}, layout={self.layout}"

    def __deepcopy__(self, memo: dict[int, Any]) -> FrameworkNetwork:
        """A copy with weights of its own; spike functions that cannot be pickled can still be copied."""
        twin = FrameworkNetwork(
            self.adapter.copied(self.model, memo), self.adapter, layout=self.layout, surrogate=self._surrogate
        )
        twin.training = self.training
        return twin

    def __getstate__(self) -> dict[str, Any]:
        """What a pickle holds: the model in the form that the adapter says can be pickled."""
        state = self.__dict__.copy()
        state["_modules"] = {"model": self.adapter.picklable(self.model)}
        return state

    @contextmanager
    def _ready(self, samples: int, steps: int) -> Iterator[None]:
        with ExitStack() as stack:
            stack.callback(self.adapter.reset, self.model)
            self.adapter.reset(self.model)
            stack.enter_context(attributes_kept(self.model))
            stack.enter_context(self.adapter.prepare(self.model, samples, steps))
            if self._surrogate is not None:
                stack.enter_context(self.adapter.using(self.model, self._surrogate))
            yield

    def _run(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """Output and potential, batch first."""
        if not isinstance(x, Tensor) or x.dim() < 3 or x.shape[1] == 0:
            found = tuple(x.shape) if isinstance(x, Tensor) else type(x).__name__
            raise InvalidInput(
                "a recording does not fit", found=found, accepted="a tensor (N, T, C, H, W) or (N, T, F)"
            )
        with self._ready(x.shape[0], x.shape[1]):
            if self.layout in ("step", "step-state"):
                return self._stepped(x)
            output, potential = self.adapter.split(self.model(self._as_taken(x)))
        spikes = self._batch_first(output, x)
        if spikes is None:
            raise self._misfit(output, x)
        # What stands beside the spikes may be anything, such as an importer's state.
        return spikes, self._batch_first(potential, x)

    def _stepped(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        outputs, potentials = [], []
        state: tuple[Any, ...] = ()
        for frame in x.unbind(dim=1):
            result = self.model(frame, *state)
            if self.layout == "step-state":
                state = self.adapter.state(result)
            output, potential = self.adapter.split(result)
            if not isinstance(output, Tensor) or output.shape[:1] != frame.shape[:1]:
                raise self._misfit(output, x)
            outputs.append(output)
            if isinstance(potential, Tensor) and potential.shape == output.shape:
                potentials.append(potential)
        together = torch.stack(potentials, dim=1) if len(potentials) == len(outputs) else None
        return torch.stack(outputs, dim=1), together

    def _as_taken(self, x: Tensor) -> Tensor:
        if self.layout == "TN":
            return x.transpose(0, 1)
        return x.flatten(0, 1) if self.layout == "merged" else x

    def _batch_first(self, output: Any, x: Tensor) -> Tensor | None:
        """The output in (N, T, ...) or (N, K), or None if it is neither in the model's layout."""
        samples, steps = x.shape[:2]
        if not isinstance(output, Tensor):
            return None
        if self.layout == "merged":
            fits = output.shape[:1] == (samples * steps,)
            return output.reshape(samples, steps, *output.shape[1:]) if fits else None
        if output.dim() == 2:
            return output if output.shape[0] == samples else None
        if self.layout == "NT":
            return output if output.shape[:2] == (samples, steps) else None
        return output.transpose(0, 1) if output.shape[:2] == (steps, samples) else None

    def _misfit(self, output: Any, x: Tensor) -> InvalidModel:
        found = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
        return InvalidModel(
            f"the model's output does not fit the layout '{self.layout}'",
            asked=f"x {tuple(x.shape)}, the model called with {_TAKES[self.layout]}",
            found=found,
            accepted="spikes, or a tuple that begins with them, in the same order of axes",
            remedy=f"name another layout ({', '.join(LAYOUTS)}), or return the spikes of the last layer",
        )
