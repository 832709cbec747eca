"""Junk as arguments of every public callable: refused, by the argument's name."""

from __future__ import annotations

import pytest
from junk import KINDS, called, fault_of, random_faults
from public_calls import INTERNAL, KNOWN, RECIPES, parameters_of, public_names

# Methods of classes in Cython, which the walk over the modules does not see.
IN_CYTHON = {"Session.step": ["x", "out"]}


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path, monkeypatch):
    """Let files whose name is junk be written where they can be removed."""
    monkeypatch.chdir(tmp_path)


def _recipes():
    numbers, found = {}, []
    for recipe in RECIPES:
        n = numbers[recipe.name] = numbers.get(recipe.name, 0) + 1
        found.append(pytest.param(recipe, id=f"{recipe.name}-{n}"))
    return found


def test_every_argument_of_every_public_callable_is_in_a_recipe():
    there: dict[str, set[str]] = {}
    for recipe in RECIPES:
        there.setdefault(recipe.name, set()).update(recipe.arguments)
    wanted = {name: parameters_of(call) for name, call in public_names().items()}
    missing = [
        f"{name}: {argument}"
        for name, arguments in {**wanted, **IN_CYTHON}.items()
        for argument in arguments
        if name not in INTERNAL and argument not in there.get(name, ())
    ]
    assert not missing
    assert not set(there) - set(wanted) - set(IN_CYTHON)
    assert not INTERNAL - set(wanted)


@pytest.mark.parametrize("recipe", _recipes())
def test_junk_is_refused_by_the_name_of_the_argument(recipe):
    assert called(recipe, {}) is None
    faults = [
        f"{argument} [{kind}]: {fault}"
        for argument in recipe.arguments
        if (recipe.name, argument) not in KNOWN
        for kind in KINDS
        if (fault := fault_of(recipe, argument, kind))
    ]
    assert not faults


def test_what_is_known_not_to_be_clean_is_not():
    faulty = {
        (recipe.name, argument)
        for recipe in RECIPES
        for argument in recipe.arguments
        if (recipe.name, argument) in KNOWN
        and any(fault_of(recipe, argument, kind) for kind in KINDS)
    }
    assert faulty == set(KNOWN)


def test_random_junk_in_several_arguments_is_refused():
    assert not list(random_faults(2000, seed=0))
