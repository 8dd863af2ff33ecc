# SPDX-License-Identifier: MIT
"""What every threat model is: a projection, a cost and an independent check, in events."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from art_spiking.errors import InvalidInput
from art_spiking.events import validate_spike_tensor

Array = npt.NDArray[Any]
Counts = npt.NDArray[np.int64]
Broken = tuple[str, float, float, str]
"""A rule that a sample breaks: its name, the limit, what was found, and all of it in words."""

_CELLS_AT_ONCE = 2**24
# Whole numbers up to here, and their differences, are exact in float32.
_STRONGEST = float(2**20)


@dataclass(frozen=True, eq=False)
class Cost:
    """What an attack spent on each sample, in events.

    Each field is int64 (N,). An insertion and a deletion are two edits; `moved` counts events whose time
    alone changed, which only threat models of timing tell apart: for edits it is 0. `own` is the clean
    sample's events.
    """

    added: Counts
    removed: Counts
    moved: Counts
    own: Counts

    @property
    def edits(self) -> Counts:
        """Events added and removed."""
        return self.added + self.removed


@dataclass(frozen=True)
class Violation:
    """One rule that one adversarial sample breaks; sample -1 stands for the whole batch."""

    sample: int
    rule: str
    limit: float
    found: float
    text: str


class ThreatModel(ABC):
    """What the attacker may change. Subclasses are frozen dataclasses whose fields are plain values.

    `kind` is the name under which the threat model is registered.
    """

    kind: ClassVar[str]

    @abstractmethod
    def project(self, x_adv: Tensor, x: Tensor) -> Tensor:
        """The allowed batch near `x_adv`; `x_adv` itself where it is allowed already."""

    @abstractmethod
    def violations(self, x_adv: Tensor | Array, x: Tensor | Array) -> list[Violation]:
        """Every rule that a sample of `x_adv` breaks; empty exactly when all are allowed."""

    def check_input(self, x: Tensor) -> None:  # noqa: B027 (most fit every input)
        """Checks that the threat model fits a clean batch.

        Raises:
            InvalidInput: it does not, as a budget that is larger than the input.
        """

    def cost(self, x_adv: Tensor | Array, x: Tensor | Array) -> Cost:
        """Counts what was added and removed, by cell.

        A fractional total, which no event sensor emits, is rounded up.

        Args:
            x_adv: (N, ...) adversarial batch.
            x: the clean batch, of the same shape.

        Raises:
            InvalidInput: the shapes differ, or an entry is not finite.
        """
        after, before = as_array(x_adv).astype(np.float64), as_array(x).astype(np.float64)
        check_same_shape(after, before)
        if not (np.isfinite(after).all() and np.isfinite(before).all()):
            raise InvalidInput("the cost of a batch that is not finite is undefined", found="NaN or infinity")
        change = (after - before).reshape(len(before), -1)
        added = np.ceil(np.maximum(change, 0).sum(1)).astype(np.int64)
        removed = np.ceil(np.maximum(-change, 0).sum(1)).astype(np.int64)
        own = np.ceil(before.reshape(len(before), -1).sum(1)).astype(np.int64)
        return Cost(added, removed, np.zeros_like(added), own)

    def to_dict(self) -> dict[str, Any]:
        """The kind and every field, as TOML and JSON can hold them; a None is left out."""
        fields = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}  # type: ignore[arg-type]
        return {"kind": self.kind} | {name: value for name, value in fields.items() if value is not None}

    def __repr__(self) -> str:
        """The class and the fields that differ from their defaults."""
        shown = (
            f"{f.name}={getattr(self, f.name)!r}"
            for f in dataclasses.fields(self)  # type: ignore[arg-type]
            if getattr(self, f.name) != f.default
        )
        return f"{type(self).__name__}({', '.join(shown)})"


@dataclass(frozen=True, eq=False)
class Edits:
    """Edits that an attack asks for, as (N, T, C, H, W) tensors.

    Attributes:
        clean: the clean counts.
        strength: how much each edit is wanted, >= 0.
        units: events to add to (above 0) or remove from (below 0) each cell.
    """

    clean: Tensor
    strength: Tensor
    units: Tensor

    @property
    def added(self) -> Tensor:
        """Events to add."""
        return self.units.clamp(min=0)

    @property
    def removed(self) -> Tensor:
        """Events to remove."""
        return (-self.units).clamp(min=0)

    def with_units(self, units: Tensor) -> Edits:
        """The same request with other units."""
        return dataclasses.replace(self, units=units)

    def within(self, most_added: Tensor, most_removed: Tensor) -> Self:
        """The same request, limited cell by cell."""
        return dataclasses.replace(
            self, units=torch.minimum(torch.maximum(self.units, -most_removed), most_added)
        )


class EventThreat(ThreatModel):
    """A threat model of whole events; its projection only drops edits, so that `&` can join it with others.

    A change of x_adv from x is a request. Any change that is not 0 asks for one edit of its cell, and from
    1.5 on for as many as it rounds to; its size ranks it. So a soft tensor, a gradient or a finished
    adversarial batch are projected alike, and the result holds whole counts whatever came in.

    `restrict_order` sorts the members of a conjunction: the rules of a budget come last, so that an edit that
    another rule forbids uses up none of it.
    """

    restrict_order: ClassVar[int] = 1

    def __and__(self, other: EventThreat) -> EventThreat:
        """The conjunction of both."""
        from art_spiking.threats.rules import AllOf

        return AllOf((self, other)) if isinstance(other, EventThreat) else NotImplemented

    @abstractmethod
    def cell_limits(self, clean: Tensor) -> tuple[Tensor, Tensor]:
        """The most events that may be added to and removed from each cell; both (N, T, C, H, W)."""

    @abstractmethod
    def restrict(self, edits: Edits) -> Edits:
        """Drops edits until the rest is allowed; what is allowed already stays as it is.

        The edits lie within `cell_limits` when they come in.
        """

    @abstractmethod
    def broken(self, after: Counts, before: Counts) -> Iterator[Broken]:
        """The rules that one sample breaks: (rule, limit, found, text); arrays (T, C, H, W) of counts >= 0.

        Written in numpy, by another way than `restrict`: it is the check on it.
        """

    @torch.no_grad()
    def project(self, x_adv: Tensor, x: Tensor) -> Tensor:
        """Keeps the strongest of the edits that `x_adv` asks for, and drops the others.

        Deterministic; an allowed batch is returned as it is; NaN asks for nothing.

        Args:
            x_adv: (N, T, C, H, W) or (N, T, F), any real numbers.
            x: the clean batch: whole counts, the same shape.

        Returns:
            An allowed batch of the dtype and on the device of `x`.

        Raises:
            InvalidInput: the shapes differ, or the threat does not fit the shape.
        """
        check_same_shape(x_adv, x)
        clean = _with_all_axes(x)
        wanted = _with_all_axes(x_adv)
        rows = max(1, _CELLS_AT_ONCE // max(1, clean[0].numel())) if len(clean) else 1
        parts = [
            self._project(a, b)
            for a, b in zip(torch.split(wanted, rows), torch.split(clean, rows), strict=True)
        ]
        return torch.cat(parts).reshape(x.shape).to(x.dtype)

    def _project(self, wanted: Tensor, clean: Tensor) -> Tensor:
        counts = clean.to(torch.float32)
        change = (wanted - clean).to(torch.float32).nan_to_num(0.0, _STRONGEST, -_STRONGEST)
        strength = change.abs().clamp(max=_STRONGEST)
        units = (strength + 0.5).floor().clamp(min=1.0)
        edits = Edits(counts, strength, torch.where(strength > 0, change.sign() * units, 0.0))
        return counts + self.restrict(edits.within(*self.cell_limits(counts))).units

    def check_input(self, x: Tensor) -> None:
        """See `ThreatModel.check_input`."""
        self.allowed(x)

    @torch.no_grad()
    def allowed(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The cells that may be edited one at a time, when nothing else is edited.

        Returns:
            Bool tensors like `x`: where one event may be added, where one may be removed.
        """
        insertable, deletable = self._allowed(_with_all_axes(x).to(torch.float32))
        return insertable.reshape(x.shape), deletable.reshape(x.shape)

    def _allowed(self, clean: Tensor) -> tuple[Tensor, Tensor]:
        most_added, most_removed = self.cell_limits(clean)
        return most_added > 0, most_removed > 0

    def violations(self, x_adv: Tensor | Array, x: Tensor | Array) -> list[Violation]:
        """Every rule that a sample of `x_adv` breaks, at most one violation per rule and sample.

        Args:
            x_adv: what an attack returned: anything numpy can read.
            x: the clean batch: whole counts.

        Returns:
            Empty exactly when every sample is allowed.

        Raises:
            InvalidInput: the clean batch is not valid, or the threat does not fit its shape.
        """

        def broken(after: Counts, before: Counts) -> Iterator[Broken]:
            shape = before.shape if before.ndim == 4 else (len(before), 1, 1, -1)
            return self.broken(after.reshape(shape), before.reshape(shape))

        # Larger counts would not fit an int64; they are too large for any rule as it is.
        return violations_by_sample(x_adv, x, broken, most=2.0**53)


def violations_by_sample(
    x_adv: Tensor | Array,
    x: Tensor | Array,
    broken: Callable[[Counts, Counts], Iterator[Broken]],
    *,
    most: float,
) -> list[Violation]:
    """Every rule that a sample breaks: those that hold for all counts, then those that `broken` finds.

    Args:
        x_adv: what an attack returned: anything numpy can read.
        x: the clean batch: whole counts.
        broken: the rules that one sample breaks, of counts after and before.
        most: larger counts are taken as this many.

    Raises:
        InvalidInput: the clean batch is not valid.
    """
    before = validate_spike_tensor(as_array(x), binary=False)
    after = as_array(x_adv)
    if after.shape != before.shape:
        text = f"the batch has shape {after.shape}; the clean one has {before.shape}"
        return [Violation(-1, "shape", float(before.ndim), float(after.ndim), text)]
    if after.dtype.kind not in "fiub":
        return [Violation(-1, "dtype", 0.0, 0.0, f"the batch holds {after.dtype}, not real numbers")]
    result = []
    for sample, (new, old) in enumerate(zip(after, before, strict=True)):
        found = list(malformed(new)) or list(
            broken(np.minimum(new, most).astype(np.int64), old.astype(np.int64))
        )
        result += [
            Violation(sample, rule, float(limit), float(value), f"sample {sample}: {text}")
            for rule, limit, value, text in found
        ]
    return result


def check_same_shape(x_adv: Tensor | Array, x: Tensor | Array) -> None:
    """Raises InvalidInput unless an adversarial batch has the shape of the clean one."""
    if x_adv.shape != x.shape:
        raise InvalidInput(
            "an adversarial batch has the shape of the clean one",
            found=tuple(x_adv.shape),
            accepted=tuple(x.shape),
        )


def as_array(x: Tensor | Array) -> Array:
    """A numpy view of a tensor or an array."""
    return x.detach().cpu().numpy() if isinstance(x, Tensor) else np.asarray(x)


def _with_all_axes(x: Tensor) -> Tensor:
    if x.ndim == 5:
        return x
    if x.ndim == 3:
        return x[:, :, None, None, :]
    raise InvalidInput(
        "a batch of spike tensors has another shape",
        found=tuple(x.shape),
        accepted="(N, T, C, H, W) or (N, T, F)",
    )


def malformed(sample: Array) -> Iterator[Broken]:
    """What keeps an array from being counts at all."""
    values = sample.astype(np.float64)
    finite = np.isfinite(values)
    if not finite.all():
        number = int((~finite).sum())
        yield "finite", 0, number, f"{number} entries are NaN or infinite"
        return
    negative = int((values < 0).sum())
    if negative:
        yield "negative", 0, values.min(), f"{negative} cells hold a negative count, down to {values.min():g}"
    fractional = values != np.floor(values)
    if fractional.any():
        worst = float(values[fractional][0])
        text = f"{int(fractional.sum())} cells hold a fraction of an event, the first {worst:g}"
        yield "whole", 0, worst, text
