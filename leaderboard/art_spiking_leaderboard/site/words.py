# SPDX-License-Identifier: MIT
"""What cases, threat models and flags are called on the page, in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from art_spiking.suites import Case

_KINDS = {
    "event-gradient": "Edits",
    "universal-perturbation": "Universal",
    "adversarial-patch": "Patch",
    "auto-spike": "AutoSpike",
    "spike-retiming": "Retiming",
    "event-square": "Square search",
    "robust-universal": "Robust universal",
}
_HOW = {
    "event-gradient": "chosen for each sample by the model's gradient",
    "universal-perturbation": "the same for every sample, fitted on other samples",
    "adversarial-patch": "filled with events fitted on other samples, the same for every sample",
    "auto-spike": "chosen for each sample by the strongest of a fixed ensemble of attacks",
    "spike-retiming": "chosen for each sample by the model's gradient",
    "robust-universal": "the same for every sample, fitted on others to work at any time, near any place "
    "and behind filters",
}
_FLAGS = {
    "zero-gradient": "For part of the samples the model gives no gradient at all, so attacks that follow "
    "it see nothing there. The model may be weaker than its number.",
    "non-deterministic": "Identical calls give different outputs. One random draw was attacked and scored.",
    "state-leak": "Outputs depend on what the model was shown before, so a number may depend on the order "
    "of the samples.",
    "batch-dependent": "A sample's output depends on the other samples beside it in its batch.",
    "control-as-strong": "Random changes of the same size did at least as much harm as the attack: the "
    "attack found no weakness of this model, or nothing was left to find.",
    "control-invalid": "The random control broke the threat model: nothing to compare the attack with.",
    "cut-short": "The time given to the case did not suffice, so part of the attack was left out or cut. "
    "With more time it may do more harm.",
    "craft-is-test": "Universal attacks were fitted on the very samples they were scored on.",
    "own-surrogate": "The attack's choice of spike derivative could not be used with this model, so it went "
    "by the model's own. Attacks that can choose may do more harm.",
    "black-box": "Only the model's answers could be seen, so attacks by gradient did not run. They might do "
    "more harm.",
    "gradient-misleads": "The gradient that the model gives does not rank edits by what they really do, so "
    "attacks that follow it are led astray. The model may be weaker than its number.",
    "saturated-loss": "The loss that attacks usually follow is flat for part of the samples although the "
    "model has a gradient. Attacks with another loss may do more harm.",
    "more-steps-gain": "With more steps the attack fools more samples, so it had not come to its end.",
    "unbounded-fails": "Even an attack that may change everything does not fool every sample, so something "
    "keeps attacks from their way. The model may be weaker than its number.",
    "own-derivative-masks": "Gradients by another spike derivative lead further than the model's own.",
    "black-box-beats-white-box": "A search without gradients fools samples that attacks by gradient left "
    "right, so the gradient hides something.",
    "events-beyond-grid": "Many events come after the last time step and were counted into it, so the model "
    "saw them crowded together. Its numbers are for recordings cut like this.",
    "budget-violation": "The attack returned samples outside its threat model. The case has no number.",
    "invalid-sample": "The attack returned something no event sensor could emit. The case has no number.",
}


def amount(value: float) -> str:
    """A large number to three digits, such as 1.14 M."""
    value = float(f"{value:.3g}")
    for unit in ("", "k", "M", "G"):
        if value < 1000:
            return f"{value:g}\u202f{unit}".rstrip("\u202f")
        value /= 1000
    return f"{value:g}\u202fT"


def case_kind(case: Case) -> str:
    """One word for the attack of a case."""
    return _KINDS.get(case.attack, case.attack.replace("-", " ").capitalize())


def case_short(case: Case) -> str:
    """The budget of a case, as short as a column head."""
    return _threat_short(case.threat) or case.name


def case_words(case: Case) -> str:
    """A sentence: what the attacker may change, and how the changes are chosen."""
    what = threat_words(case.threat)
    how = _HOW.get(case.attack, f"chosen by {case.attack}")
    if case.target is not None:
        how += f", so that samples are taken for class {case.target}"
    return f"{what[:1].upper()}{what[1:]}, {how}."


def threat_words(threat: Mapping[str, Any]) -> str:
    """What a threat model, as a case writes it, lets the attacker change."""
    kind = threat.get("kind")
    if kind == "event-edits":
        return _edits_words(threat)
    if kind == "patch-region":
        return f"any events inside one square that covers {_percent(threat.get('area'))} of the sensor"
    if kind == "object-region":
        area = _percent(threat.get("area"))
        return f"events added inside a square object that covers {area} of the sensor{_moving(threat)}"
    if kind == "retiming":
        return _retiming_words(threat)
    if kind == "pixel-rate":
        return f"at most {threat.get('max_rate_hz')} added events per pixel and second"
    if kind == "linf":
        return f"every entry by at most {threat.get('eps')}"
    if kind == "all-of":
        return ", and ".join(threat_words(member) for member in threat.get("members", ()))
    details = ", ".join(f"{key} {value}" for key, value in threat.items() if key != "kind")
    return f"{kind} ({details})" if details else str(kind)


def flag_title(code: str) -> str:
    """A flag's code as words."""
    return code.replace("-", " ")


def flag_words(code: str, otherwise: str) -> str:
    """What a flag means, for any model; a code this page does not know is told by the record's own text."""
    return _FLAGS.get(code, otherwise)


def _edits_words(threat: Mapping[str, Any]) -> str:
    budget = threat.get("max_edits")
    insert, delete = threat.get("insert", True), threat.get("delete", True)
    verb = "inserted or deleted" if insert and delete else "inserted" if insert else "deleted"
    if isinstance(budget, float):
        words = f"events {verb}, up to {_percent(budget)} of the sample's own number"
    else:
        words = f"up to {budget} events {verb}"
    if threat.get("refractory_us"):
        words += f", never two on a pixel within {threat['refractory_us']} µs"
    polarity = threat.get("polarity", "free")
    if polarity in ("on", "off"):
        words += f", only {polarity.upper()} events"
    if polarity == "same":
        words += ", with a polarity the pixel shows anyway"
    return words


def _retiming_words(threat: Mapping[str, Any]) -> str:
    most, shift = threat.get("max_moved"), threat.get("max_shift")
    words = "events moved in time alone"
    if isinstance(most, float):
        words += f", up to {_percent(most)} of the sample's own number"
    elif most is not None:
        words = f"up to {most} {words}"
    if shift is not None:
        words += f", each by at most {_shift(threat)}"
    if threat.get("max_total_shift") is not None:
        words += f", together by at most {threat['max_total_shift']} {threat.get('unit', 'us')}"
    return words


def _shift(threat: Mapping[str, Any]) -> str:
    shift = threat.get("max_shift")
    if threat.get("unit") == "us" and isinstance(shift, int | float):
        return f"{shift / 1000:g} ms"
    return f"{shift} {threat.get('unit', '')}".strip()


def _moving(threat: Mapping[str, Any]) -> str:
    """How an object moves and flickers."""
    velocity, flicker = threat.get("velocity"), threat.get("flicker_hz")
    words = ""
    if isinstance(velocity, list | tuple) and any(velocity):
        words += (
            f" and moves at {', '.join(f'{part:g}' for part in velocity)} pixels per second (down, right)"
        )
    if flicker:
        words += f" and flickers {flicker:g} times a second"
    return words


def _threat_short(threat: Mapping[str, Any]) -> str:
    kind = threat.get("kind")
    if kind == "event-edits":
        budget = threat.get("max_edits")
        return _percent(budget) if isinstance(budget, float) else str(budget)
    if kind in ("patch-region", "object-region"):
        return _percent(threat.get("area"))
    if kind == "retiming":
        moved = threat.get("max_moved")
        parts = (
            [f"{_percent(moved) if isinstance(moved, float) else moved} moved"] if moved is not None else []
        )
        parts += [f"±{_shift(threat)}"] if threat.get("max_shift") is not None else []
        return ", ".join(parts)
    if kind == "pixel-rate":
        return f"{threat.get('max_rate_hz')} Hz"
    if kind == "linf":
        return f"±{threat.get('eps')}"
    if kind == "all-of":
        return " & ".join(_threat_short(member) for member in threat.get("members", ()))
    return ""


def _percent(share: Any) -> str:
    return f"{100 * share:g}%" if isinstance(share, int | float) else str(share)
