# SPDX-License-Identifier: MIT
"""`art-spiking attack`: one attack on one model under one threat model, by default AutoSpike."""

from __future__ import annotations

import functools
import io
import json
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from art_spiking.cli.evaluation import (
    Request,
    check_writable,
    classifier,
    evaluate_command,
    load_network,
    load_split,
)
from art_spiking.cli.written import parse_parameters, parse_threat
from art_spiking.errors import InvalidInput

if TYPE_CHECKING:
    from art_spiking.evaluate import OnAdversarial, Setting
    from art_spiking.records import Record
    from art_spiking.registry import Entry
    from art_spiking.suites import Case
    from art_spiking.threats import ThreatModel

_AUTO = "auto-spike"
_MINIMAL = "minimal-edits"
_ATTACK_FAILED = 1
_GIVEN_ELSEWHERE = {"seed": "--seed", "threat": "--threat", "exhaustive": "--exhaustive"}
_SHARED = ("model", "data", "data_dir", "dt_us", "steps", "semantics", "readout", "binary", "limit")

ADVERSARIAL = "adversarial.npz"
RESULT = "attack.json"


@dataclass(frozen=True)
class Asked:
    """The attack and the threat model, as they were asked for on the command line."""

    attack: str
    threat: dict[str, Any]
    parameters: dict[str, Any]
    trust: bool
    minutes: float | None
    seed: int
    craft: int


@click.command(
    "attack",
    short_help="Attack one model under one threat model.",
    params=[parameter for parameter in evaluate_command.params if parameter.name in _SHARED],
)
@click.option(
    "--threat",
    required=True,
    metavar="TEXT",
    help="What may be changed: KIND:key=value,... as in event-edits:max_edits=50,delete=false; "
    "several joined by & all hold. See `art-spiking list threats`.",
)
@click.option("--auto", is_flag=True, help="Run AutoSpike, an ensemble without parameters (the default).")
@click.option("--attack", metavar="NAME", help="Run this attack instead; see `art-spiking list attacks`.")
@click.option("--parameters", metavar="TEXT", help="Of --attack: key=value,... as in queries=300.")
@click.option("--exhaustive", is_flag=True, help="AutoSpike: let every member attack every sample.")
@click.option("--fewest", is_flag=True, help="AutoSpike: of each sample keep the success with fewest edits.")
@click.option(
    "--minutes",
    type=click.FloatRange(min=0, min_open=True),
    help="AutoSpike: most time, a quarter of it for the checks. What goes first where it is short: "
    "exhaustive, restarts, queries, later members, samples of the checks; the result says what went.",
)
@click.option(
    "--trust/--no-trust",
    default=None,
    help="Run the checks that tell whether the number is to be trusted (the default for AutoSpike).",
)
@click.option("--minimal", is_flag=True, help="Find the fewest edits of each sample, within the threat's.")
@click.option(
    "--seed",
    type=click.IntRange(0, 2**32 - 1),
    default=0,
    show_default=True,
    help="The same seed gives the same result.",
)
@click.option(
    "--craft",
    type=click.IntRange(min=1),
    default=200,
    show_default=True,
    help="Train samples that a universal attack is fitted on, and that attacks choose a gradient on.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    help=f"Write {RESULT}, and {ADVERSARIAL} with the clean and the adversarial samples, into this folder.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of the tables.")
def attack_command(**options: Any) -> int:
    """Attack MODEL under one threat model, and tell what is left of its accuracy.

    MODEL is a .nir file, or a folder with graph.json and weights.safetensors. Prints the robust accuracy with
    a 95 % interval, the accuracy under random changes of equal budget, what was changed, every reason to
    doubt the number, what each attack of the ensemble did, and what the checks found.

    \b
    Example:
      art-spiking attack cnn.nir --data nmnist --data-dir N-MNIST --dt-us 10000 --steps 31 \\
        --semantics sinabs,spikes=one,v_min=-1 --threat event-edits:max_edits=50,delete=false \\
        --auto --limit 100 --out attacked
    """  # noqa: D301 (click reads \b)
    from art_spiking.cli.output import table

    request = Request(
        **{name: options[name] for name in _SHARED},
        suite="",
        cases=(),
        out=options["out"],
        as_json=options["as_json"],
    )
    record = _run(request, _asked(options))
    result = _result(record)
    if request.out is not None:
        from art_spiking.files import write_atomically

        write_atomically(request.out / RESULT, json.dumps(result, allow_nan=False).encode())
    if request.as_json:
        click.echo(json.dumps(result, allow_nan=False))
    else:
        from art_spiking.cli.attack_output import ensemble_table, trust_table

        width = min(100, max(80, shutil.get_terminal_size().columns))
        parts = [table([record], width=width)]
        if record.ensemble is not None:
            parts.append(ensemble_table(record.ensemble, width=width))
        if record.trust is not None:
            parts.append(trust_table(record.trust, width=width))
        if result["fewest_edits"] is not None:
            parts.append(_fewest_text(result["fewest_edits"]))
        click.echo("\n\n".join(parts))
    return _ATTACK_FAILED if record.status != "ok" else 0


def _asked(options: dict[str, Any]) -> Asked:
    """The attack as asked for; what contradicts itself is told.

    Raises:
        InvalidInput: options that exclude each other, or text that does not parse.
    """
    name = options["attack"]
    for option in ("auto", "exhaustive", "fewest", "minutes"):
        if name is not None and options[option]:
            raise InvalidInput(
                f"--{option} belongs to AutoSpike, and --attack names another one",
                asked=f"--attack {name} --{option}",
                remedy=f"leave out --attack or --{option}",
            )
    if name is None and options["parameters"] is not None:
        raise InvalidInput(
            "AutoSpike has no parameters",
            asked=f"--parameters {options['parameters']}",
            remedy="leave them out, or name another attack with --attack",
        )
    parameters = parse_parameters("--parameters", options["parameters"] or "")
    for given, instead in _GIVEN_ELSEWHERE.items():
        if given in parameters:
            raise InvalidInput(f"'{given}' is no parameter here", remedy=f"give {instead}")
    if name is None:
        parameters = {option: options[option] for option in ("exhaustive", "fewest")}
    attack, trusted = (_AUTO, True) if name is None else (name, False)
    if options["minimal"]:
        # What AutoSpike was not asked to do is left to MinimalEdits.
        parameters = parameters if name is not None else {key: True for key in parameters if parameters[key]}
        parameters, trusted = {"attack": attack, "parameters": parameters}, False
        attack = _MINIMAL
    return Asked(
        attack=attack,
        threat=parse_threat(options["threat"]),
        parameters=parameters,
        trust=trusted if options["trust"] is None else options["trust"],
        minutes=options["minutes"],
        seed=options["seed"],
        craft=options["craft"],
    )


def _run(request: Request, asked: Asked) -> Record:
    """The record of the attack."""
    from art_spiking.attacks import AutoSpike
    from art_spiking.attacks.choosing import SWEEP
    from art_spiking.evaluate import Providers, Splits, build_threat, evaluate_case, kinds_in, prepare
    from art_spiking.registry import catalogue, plugin_manager

    # What can be wrong cheaply is found first: names, then the folder, then the model, then the data.
    manager = plugin_manager()
    attacks, threats = catalogue("attacks", manager), catalogue("threats", manager)
    datasets = catalogue("datasets", manager)
    datasets[request.data]
    for kind in kinds_in(asked.threat):
        threats[kind]
    entry = attacks[asked.attack]
    if request.out is not None:
        check_writable(request.out)
    network, steps = load_network(request)
    load = functools.partial(load_split, request, network=network, steps=steps, datasets=datasets)
    test = load("test", None)
    estimator = classifier(network, test, request.readout)
    threat = build_threat(asked.threat, threats, dt_us=test.grid.dt_us)
    attack = _checked_attack(entry, asked, estimator, threat, test.x[:1])
    universal = bool(getattr(attack, "universal", False))
    case = _case(asked, threat, universal=universal)
    # What fits nothing and chooses nothing needs no craft samples; every evaluation names both splits.
    inner = getattr(attack, "inner", attack)
    chooses = isinstance(inner, AutoSpike) or getattr(attack, "surrogate", None) == SWEEP
    craft = load("train", asked.craft if universal or chooses else 1)
    setting = prepare(
        estimator,
        Splits(craft=craft, test=test),
        _suite(case),
        name=request.model.stem,
        providers=Providers(attacks, threats),
        command=("art-spiking", *sys.argv[1:]),
    )
    click.echo(f"attacking {len(test.y)} samples with {asked.attack} ...", err=True)
    return evaluate_case(setting, case, on_adversarial=_keeper(request.out, setting))


def _checked_attack(entry: Entry, asked: Asked, estimator: Any, threat: ThreatModel, first: Any) -> Any:
    """The attack, built once before the work so that what does not fit is told at once.

    Raises:
        InvalidInput: the attack does not take the parameters or the threat model, or the data does not.
    """
    import torch

    from art_spiking.evaluate.parameters import check_parameters

    check_parameters(asked.attack, entry.load(), asked.parameters)
    threat.check_input(torch.from_numpy(first))
    return entry.load()(estimator, threat, **asked.parameters, seed=asked.seed)


def _case(asked: Asked, threat: ThreatModel, *, universal: bool) -> Case:
    from art_spiking.suites import Case, Control

    control = _control_of(threat, universal=universal)
    return Case(
        name=asked.attack,
        attack=asked.attack,
        threat=asked.threat,
        parameters=asked.parameters,
        seed=asked.seed,
        trust=asked.trust,
        minutes=asked.minutes,
        control=None if control is None else Control(attack=control),
    )


def _control_of(threat: ThreatModel, *, universal: bool) -> str | None:
    """The random attack of the same form, at equal budget; None where there is none."""
    from art_spiking.attacks.edits.space import members_of
    from art_spiking.threats import EventThreat, PatchRegion, Retiming

    if isinstance(threat, Retiming):
        return "random-retiming"
    if not isinstance(threat, EventThreat):
        return None
    if not universal:
        return "random-events"
    patch = any(isinstance(member, PatchRegion) for member in members_of(threat))
    return "random-patch" if patch else "random-universal"


def _suite(case: Case) -> Any:
    from art_spiking.suites import Suite

    return Suite(name="one-attack", version=1, cases=(case,))


def _keeper(out: Path | None, setting: Setting) -> OnAdversarial | None:
    """What writes the samples of a valid result; None without a folder."""
    if out is None:
        return None

    def keep(record: Record, x: Any, x_adv: Any) -> None:
        import numpy as np

        from art_spiking.files import write_atomically

        stream = io.BytesIO()
        np.savez_compressed(
            stream,
            x=x,
            x_adv=x_adv,
            labels=np.array(record.labels, np.int64),
            clean=np.array(record.clean, np.int64),
            adversarial=np.array(record.adversarial, np.int64),
            dt_us=np.int64(setting.splits.test.grid.dt_us),
        )
        write_atomically(out / ADVERSARIAL, stream.getvalue())

    return keep


def _result(record: Record) -> dict[str, Any]:
    """What --json prints: the evaluation of one case, what an ensemble's members did, what checks found."""
    from art_spiking.cli.output import summary

    told = (record.ensemble, record.trust)
    ensemble, trust = (None if part is None else part.model_dump(mode="json") for part in told)
    fewest = {"fewest_edits": _fewest_edits(record)}
    return {**summary([record]), "ensemble": ensemble, "trust": trust, **fewest}


def _fewest_edits(record: Record) -> list[int | None] | None:
    """Edits of each sample: 0 where it was wrong before, None where nothing was found; None if not asked."""
    if record.case.attack != _MINIMAL or record.status != "ok":
        return None
    fooled = [found != label for found, label in zip(record.adversarial, record.labels, strict=True)]
    spent = [added + removed for added, removed in zip(record.cost.added, record.cost.removed, strict=True)]
    return [edits if found else None for edits, found in zip(spent, fooled, strict=True)]


def _fewest_text(edits: list[int | None]) -> str:
    import statistics

    found = [number for number in edits if number]
    right = len(found) + sum(number is None for number in edits)
    if not found:
        return f"fewest edits: found for none of {right} samples that were right"
    return (
        f"fewest edits: found for {len(found)} of {right} samples that were right; "
        f"median {statistics.median(found):g}, mean {statistics.mean(found):.1f}, "
        f"from {min(found)} to {max(found)}"
    )
