# SPDX-License-Identifier: MIT
"""The contract checks that authors of plugins run on what they register.

Each check runs small named properties and raises one `ContractBroken` that lists every broken one:

    from art_spiking.testing import check_attack

    def test_my_attack_keeps_the_contract():
        check_attack(MyAttack)
"""

from art_spiking.testing.attacks import check_attack
from art_spiking.testing.contracts import ContractBroken
from art_spiking.testing.datasets import check_dataset
from art_spiking.testing.estimators import check_defence, check_estimator
from art_spiking.testing.frameworks import check_framework
from art_spiking.testing.samples import small_classifier, small_data
from art_spiking.testing.threats import check_threat

__all__ = [
    "ContractBroken",
    "check_attack",
    "check_dataset",
    "check_defence",
    "check_estimator",
    "check_framework",
    "check_threat",
    "small_classifier",
    "small_data",
]
