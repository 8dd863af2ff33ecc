# SPDX-License-Identifier: MIT
"""Plugins: found, attributed to their distribution, and never able to stop the host."""

import subprocess
import sys
import warnings
from pathlib import Path
from types import ModuleType

import pytest

from art_spiking.errors import PluginError, UnknownName
from art_spiking.hookspecs import KINDS, hookimpl
from art_spiking.registry import (
    Catalogue,
    Entry,
    PluginManager,
    PluginWarning,
    catalogue,
    plugin_manager,
)


def module(**functions):
    """A plugin module made of these functions."""
    made = ModuleType("a_plugin")
    vars(made).update(functions)
    return made


def offering(kind, *names, target="json:dumps"):
    """A plugin object that registers these names."""

    @hookimpl
    def hook(register):
        for name in names:
            register(name, target, f"the {name}")

    return module(**{f"art_spiking_register_{kind}": hook})


def manager_of(**plugins):
    manager = PluginManager()
    for provider, plugin in plugins.items():
        assert manager.add(plugin, provider)
    return manager


@pytest.fixture
def distribution(tmp_path, monkeypatch):
    """Installs a throwaway distribution with one plugin module on the path."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def install(name, code, version="1.2"):
        made = name.replace("-", "_") + "_plugin"
        monkeypatch.delitem(sys.modules, made, raising=False)
        (tmp_path / f"{made}.py").write_text(code)
        info = tmp_path / f"{name.replace('-', '_')}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        (info / "entry_points.txt").write_text(f"[art_spiking]\nmine = {made}\n")
        return made

    return install


GOOD = """
from art_spiking.hookspecs import hookimpl
@hookimpl
def art_spiking_register_attacks(register):
    register("{name}", "json:dumps", "A test attack.")
"""


def only(monkeypatch, *names):
    monkeypatch.setenv("ART_SPIKING_PLUGINS", ",".join(names))


def test_builtins_register_through_the_same_hooks(monkeypatch):
    only(monkeypatch)
    manager = plugin_manager()
    assert {"event-gradient", "random-events"} <= set(catalogue("attacks", manager))
    for kind in KINDS:
        for entry in catalogue(kind, manager).values():
            assert entry.provider.startswith("art-spiking "), entry
            assert entry.summary.endswith("."), entry


def test_a_new_manager_every_call(monkeypatch):
    only(monkeypatch)
    first = plugin_manager()
    first.add(offering("attacks", "mine"), "test 1")
    assert "mine" in catalogue("attacks", first)
    assert "mine" not in catalogue("attacks")


def test_an_installed_plugin_is_found_with_its_provider(distribution, monkeypatch):
    distribution("spike-noise", GOOD.format(name="noise"))
    only(monkeypatch, "Spike_Noise")
    entry = catalogue("attacks")["noise"]
    assert entry.provider == "spike-noise 1.2"
    assert entry.summary == "A test attack."
    import json

    assert entry.load() is json.dumps


def test_an_unlisted_plugin_is_not_even_imported(distribution, monkeypatch):
    made = distribution("spike-noise", "raise SystemExit('imported')")
    only(monkeypatch)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert "event-gradient" in catalogue("attacks")
    assert made not in sys.modules


def test_a_listed_plugin_that_is_absent_is_told(monkeypatch):
    only(monkeypatch, "no-such-plugin")
    with pytest.warns(PluginWarning, match="ART_SPIKING_PLUGINS names 'no-such-plugin'"):
        plugin_manager()


@pytest.mark.parametrize("code", ["import no_such_module", "1 / 0", "raise SystemExit(3)", "def f(:"])
def test_a_plugin_that_fails_to_import_is_named_and_the_host_goes_on(distribution, monkeypatch, code):
    distribution("spike-broken", code)
    distribution("spike-noise", GOOD.format(name="noise"))
    only(monkeypatch, "spike-broken", "spike-noise")
    with pytest.warns(PluginWarning, match=r"ignoring the plugin of spike-broken 1\.2: cannot import"):
        manager = plugin_manager()
    assert {"noise", "event-gradient"} <= set(catalogue("attacks", manager))


def test_a_misspelt_hook_is_named_with_the_right_one():
    @hookimpl
    def hook(register):
        register("x", "json:dumps")

    manager = PluginManager()
    with pytest.warns(PluginWarning) as caught:
        assert not manager.add(module(art_spiking_register_atacks=hook), "dist 1.0")
    text = str(caught[0].message)
    assert "dist 1.0" in text
    assert "art_spiking_register_atacks, which is no hook" in text
    assert "did you mean art_spiking_register_attacks" in text


def test_a_hook_under_another_name_is_refused():
    @hookimpl
    def hook(register):
        register("x", "json:dumps")

    with pytest.warns(PluginWarning, match="register_attacks, which is no hook"):
        assert not PluginManager().add(module(register_attacks=hook), "dist 1.0")


def test_a_function_that_was_never_marked_is_caught():
    def art_spiking_register_attacks(register):
        register("x", "json:dumps")

    plugin = module(art_spiking_register_attacks=art_spiking_register_attacks)
    with pytest.warns(PluginWarning, match=r"dist 1\.0: its art_spiking_register_attacks is not marked"):
        assert not PluginManager().add(plugin, "dist 1.0")


def test_a_misspelt_argument_is_refused_at_registration():
    @hookimpl
    def hook(registr):
        registr("x", "json:dumps")

    with pytest.warns(PluginWarning, match=r"dist 1\.0.*registr"):
        assert not PluginManager().add(module(art_spiking_register_attacks=hook), "dist 1.0")


def test_two_providers_of_one_name_are_both_named_and_the_rest_works():
    manager = manager_of(one=offering("attacks", "same", "left"), two=offering("attacks", "same", "right"))
    with pytest.warns(PluginWarning, match="one and two"):
        found = catalogue("attacks", manager)
    assert set(found) == {"left", "right"}
    with pytest.raises(PluginError, match="'same' in attacks is registered by one and two"):
        found["same"]
    with pytest.raises(PluginError):
        found.get("same")


def test_one_provider_registering_a_name_twice_is_told():
    with pytest.warns(PluginWarning, match="registered by one, 2 times"):
        assert not catalogue("attacks", manager_of(one=offering("attacks", "same", "same")))


def test_a_hook_that_raises_loses_only_its_own():
    @hookimpl
    def bad(register):
        register("half", "json:dumps")
        raise RuntimeError("no GPU")

    manager = manager_of(one=module(art_spiking_register_attacks=bad), two=offering("attacks", "fine"))
    with pytest.warns(PluginWarning, match="ignoring the attacks of one: RuntimeError: no GPU"):
        assert set(catalogue("attacks", manager)) == {"fine"}


@pytest.mark.parametrize(
    ("name", "target", "message"),
    [
        ("Bad Name", "json:dumps", "a name in attacks is not valid"),
        ("", "json:dumps", "a name in attacks"),
        ("fine", "json.dumps", "target of 'fine' is not valid"),
    ],
)
def test_invalid_names_and_targets_are_refused_at_the_door(name, target, message):
    with pytest.warns(PluginWarning, match=message):
        assert not catalogue("attacks", manager_of(one=offering("attacks", name, target=target)))


def test_misspelt_names_get_suggestions(monkeypatch):
    only(monkeypatch)
    attacks = catalogue("attacks")
    with pytest.raises(UnknownName, match=r"unknown attack 'event-gradiant'.*did you mean event-gradient"):
        attacks["event-gradiant"]
    with pytest.raises(UnknownName, match=r"unknown kind of plugin 'atacks'.*did you mean attacks"):
        catalogue("atacks")
    assert attacks.get("nothing") is None


@pytest.mark.parametrize("target", ["no_such_module:thing", "json:no_such_thing"])
def test_a_target_that_cannot_load_names_its_provider(target):
    entry = Entry("mine", "attacks", target, "dist 1.0")
    with pytest.raises(PluginError, match=r"cannot load attacks 'mine' of dist 1\.0"):
        entry.load()


def test_a_target_may_be_the_thing_itself():
    assert Catalogue.of("attacks", {"mine": len})["mine"].load() is len


def test_every_hook_has_a_kind_and_a_documented_signature():
    import inspect

    from art_spiking import hookspecs

    hooks = {name for name in vars(hookspecs) if name.startswith("art_spiking_")}
    assert hooks == {f"art_spiking_register_{kind}" for kind in KINDS}
    for name in hooks:
        hook = getattr(hookspecs, name)
        assert list(inspect.signature(hook).parameters) == ["register"]
        assert hook.__doc__


def test_listing_plugins_imports_nothing_heavy():
    code = (
        "import sys, art_spiking.registry as r\n"
        "[r.catalogue(kind, m) for m in [r.plugin_manager()] for kind in r.KINDS]\n"
        "heavy = {'torch', 'art', 'numba', 'h5py', 'matplotlib', 'sklearn', 'numpy', 'pydantic'}\n"
        "sys.exit(', '.join(heavy & set(sys.modules)) or 0)"
    )
    root = Path(__file__).resolve().parents[1]
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        cwd=root,
        env={"ART_SPIKING_PLUGINS": "", "PATH": ""},
        check=False,
    )
    assert done.returncode == 0, done.stderr
