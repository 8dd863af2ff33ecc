# SPDX-License-Identifier: MIT
"""Registers everything that art-spiking itself brings, through the hooks that plugins use."""

from __future__ import annotations

from art_spiking.hookspecs import Register, hookimpl


@hookimpl
def art_spiking_register_attacks(register: Register) -> None:
    """The attacks, and the random controls that stand beside them."""
    register(
        "event-gradient",
        "art_spiking.attacks:EventGradientAttack",
        "Inserts and deletes the events of one sample that the gradient ranks highest.",
    )
    register(
        "universal-perturbation",
        "art_spiking.attacks:SpikingUniversalPerturbation",
        "One set of event edits, fitted on a craft split, for every sample.",
    )
    register(
        "robust-universal",
        "art_spiking.attacks:RobustUniversalPerturbation",
        "One set of event edits that works at any time, near any place and behind filters.",
    )
    register(
        "heatmap-universal",
        "art_spiking.attacks:HeatmapPerturbation",
        "The cells that attacks on single samples edit most often, for every sample.",
    )
    register(
        "iterative-universal",
        "art_spiking.attacks:IterativePerturbation",
        "Edits of single samples, merged sample by sample and evicted down to the budget.",
    )
    register(
        "adversarial-patch",
        "art_spiking.attacks:SpikingAdversarialPatch",
        "A small region of events, fitted on a craft split, for every sample.",
    )
    register(
        "event-exchange",
        "art_spiking.attacks:EventExchange",
        "Exchanges a few edits at a time for better ones: a gradient proposes, trials decide.",
    )
    register(
        "spike-fool",
        "art_spiking.attacks:SpikeFool",
        "Flips along the normal of the decision boundary, largest slope first (SparseFool on spikes).",
    )
    register(
        "sparse-dynamic",
        "art_spiking.attacks:SparseDynamicAttack",
        "Flips that gradients propose and single trials confirm (SDA).",
    )
    register(
        "ternary-gradient",
        "art_spiking.attacks:TernaryGradientAttack",
        "Flips drawn with the gradient as their probability (G2S and RSF).",
    )
    register(
        "gumbel-events",
        "art_spiking.attacks:GumbelEventAttack",
        "Edits drawn from learnt odds, over own events and those of other samples.",
    )
    register(
        "minimal-edits",
        "art_spiking.attacks:MinimalEdits",
        "The fewest edits that another attack comes to, by bisection and by undoing what is not needed.",
    )
    register(
        "random-events",
        "art_spiking.attacks:RandomEvents",
        "Control: random edits of each sample, at equal budget.",
    )
    register(
        "random-universal",
        "art_spiking.attacks:RandomUniversal",
        "Control: one random set of edits for every sample, at equal budget.",
    )
    register(
        "random-patch",
        "art_spiking.attacks:RandomPatch",
        "Control: a patch of random events, at equal area.",
    )
    register(
        "event-square",
        "art_spiking.attacks:EventSquare",
        "Query attack: blocks of edits by random search, from logits alone.",
    )
    register(
        "retiming-square",
        "art_spiking.attacks:RetimingSquare",
        "Query attack: moves of events in time by random search, from logits alone.",
    )
    register(
        "event-genetic",
        "art_spiking.attacks:EventGenetic",
        "Query attack: a population of blocks of edits, crossed and mutated, from logits alone.",
    )
    register(
        "event-greedy",
        "art_spiking.attacks:EventGreedy",
        "Query attack: one block of edits after the other, the best of a few, from logits alone.",
    )
    register(
        "event-hop-skip-jump",
        "art_spiking.attacks:EventHopSkipJump",
        "Decision-based: follows a gradient that random masks of edits estimate, from labels alone.",
    )
    register(
        "event-sign-opt",
        "art_spiking.attacks:EventSignOPT",
        "Decision-based: improves a ranking of edits by perturbing it, from labels alone.",
    )
    register(
        "event-transfer",
        "art_spiking.attacks:EventTransfer",
        "Transfer: networks trained on the model's answers are attacked by gradient in its place.",
    )
    register(
        "auto-spike",
        "art_spiking.attacks:AutoSpike",
        "The strongest per sample of a fixed ensemble, gradients first, a query attack last.",
    )
    register(
        "spike-retiming",
        "art_spiking.attacks:SpikeRetiming",
        "Moves the events of each sample in time, none added or removed.",
    )
    register(
        "random-retiming",
        "art_spiking.attacks:RandomRetiming",
        "Control: random moves in time, at equal budget.",
    )


@hookimpl
def art_spiking_register_threats(register: Register) -> None:
    """The threat models."""
    register(
        "event-edits",
        "art_spiking.threats:EventEdits",
        "Insert or delete at most so many events, or a share of the sample's own.",
    )
    register("pixel-rate", "art_spiking.threats:PixelRate", "A ceiling on any pixel's rate of added events.")
    register("patch-region", "art_spiking.threats:PatchRegion", "Changes only inside one square window.")
    register(
        "object-region",
        "art_spiking.threats:ObjectRegion",
        "Events are added where an object is, which moves at a velocity and may flicker.",
    )
    register(
        "retiming",
        "art_spiking.threats:Retiming",
        "Events move in time alone: a largest shift, a total shift, a number of moves.",
    )
    register("linf", "art_spiking.threats:Linf", "Every entry changes by at most eps.")


@hookimpl
def art_spiking_register_defences(register: Register) -> None:
    """The defences."""
    register(
        "background-activity-filter",
        "art_spiking.defences:BackgroundActivityFilter",
        "Drops events without a recent neighbour, as event sensors' own filters do.",
    )
    register(
        "mask-filter",
        "art_spiking.defences:MaskFilter",
        "Silences the pixels that emit too many events over a recording.",
    )


@hookimpl
def art_spiking_register_datasets(register: Register) -> None:
    """The data sets."""
    register(
        "digits-dvs",
        "art_spiking.datasets:digits_dvs",
        "scikit-learn's digits, moved under a simulated event sensor; no download.",
    )
    register(
        "nmnist", "art_spiking.datasets:nmnist", "Neuromorphic MNIST recordings, read from a folder you have."
    )


@hookimpl
def art_spiking_register_suites(register: Register) -> None:
    """The suites."""
    register(
        "events-quick",
        "art_spiking.suites:events-quick.toml",
        "Edits, universal perturbations and patches with their random controls, in minutes.",
    )
    register(
        "events-v1",
        "art_spiking.suites:events-v1.toml",
        "AutoSpike at 5 to 100 inserted and deleted events, and at 50 inserted ones.",
    )
    register(
        "timing-v1",
        "art_spiking.suites:timing-v1.toml",
        "Events move in time alone: largest shifts in ms, and numbers of moves.",
    )
    register(
        "universal-v1",
        "art_spiking.suites:universal-v1.toml",
        "One mask of insertions for all samples: four budgets, any time, near any place, behind filters.",
    )
    register(
        "patch-v1",
        "art_spiking.suites:patch-v1.toml",
        "A patch at any place, at a chosen one, towards a class, and as an object that moves or flickers.",
    )
    register(
        "blackbox-v1",
        "art_spiking.suites:blackbox-v1.toml",
        "Searches without gradients: edits from logits and from labels alone, and moves in time.",
    )


@hookimpl
def art_spiking_register_frameworks(register: Register) -> None:
    """The spiking frameworks whose models can be wrapped and compiled."""
    register(
        "snntorch",
        "art_spiking.frameworks.snntorch_adapter:SnnTorchAdapter",
        "Models of snnTorch's neurons: stepped, or looping over time themselves.",
    )


@hookimpl
def art_spiking_register_commands(register: Register) -> None:
    """The commands."""
    register("list", "art_spiking.cli:list_command", "List what is registered, and by which package.")
    register(
        "evaluate",
        "art_spiking.cli.evaluation:evaluate_command",
        "Evaluate one model under a suite of attacks.",
    )
    register(
        "attack",
        "art_spiking.cli.attacking:attack_command",
        "Attack one model under one threat model, by default with AutoSpike.",
    )
    register("pack", "art_spiking.packing:pack", "Turn a .nir file into a leaderboard submission.")
    register(
        "inspect",
        "art_spiking.cli.inspecting:inspect_command",
        "Show a model's layers, and what they do with data.",
    )
