# SPDX-License-Identifier: MIT
"""art-spiking: how robust is this spiking network, really?"""
