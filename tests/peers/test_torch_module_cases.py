"""PyTorch's test cases of recurrent modules, on classes of fastcell.torch."""

from __future__ import annotations

import pytest
from tolerances import PEER_FLOAT32, PEER_FLOAT64

torch = pytest.importorskip("torch")
common_modules = pytest.importorskip("torch.testing._internal.common_modules")
pytestmark = pytest.mark.peers

from torch_pairs import NAMES, assert_alike, results  # noqa: E402

import fastcell.torch  # noqa: E402

TOLERANCES = {torch.float32: PEER_FLOAT32, torch.float64: PEER_FLOAT64}
KINDS = {
    info.module_cls.__name__: info
    for info in common_modules.module_db
    if info.module_cls in [getattr(torch.nn, name) for name in NAMES]
}


def test_all_six_have_cases():
    assert sorted(KINDS) == sorted(NAMES)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", TOLERANCES)
@pytest.mark.parametrize("training", [True, False])
def test_values_and_gradients(name, dtype, training):
    info = KINDS[name]
    cases = info.module_inputs_func(
        info, device="cpu", dtype=dtype, requires_grad=True, training=training
    )
    assert len(cases) > 3
    for case in cases:
        given, call = case.constructor_input, case.forward_input
        made = []
        for cls in (getattr(fastcell.torch, name), info.module_cls):
            torch.manual_seed(0)
            module = cls(*given.args, **{"dtype": dtype, **given.kwargs})
            made.append(module.train(training))
        own, peer = made
        assert_alike(
            results(own, *call.args, **call.kwargs),
            results(peer, *call.args, **call.kwargs),
            TOLERANCES[dtype],
        )
        if case.reference_fn is not None:
            parameters = list(own.parameters())
            expected = case.reference_fn(own, parameters, *call.args, **call.kwargs)
            torch.testing.assert_close(own(*call.args, **call.kwargs), expected)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", TOLERANCES)
def test_errors(name, dtype):
    info = KINDS[name]
    cases = info.module_error_inputs_func(
        info, device="cpu", dtype=dtype, requires_grad=False, training=False
    )
    assert len(cases) > 3
    for case in cases:
        given = case.module_error_input.constructor_input
        call = case.module_error_input.forward_input

        def make(given=given):
            cls = getattr(fastcell.torch, name)
            return cls(*given.args, **{"dtype": dtype, **given.kwargs})

        if case.error_on == common_modules.ModuleErrorEnum.CONSTRUCTION_ERROR:
            with pytest.raises(case.error_type, match=case.error_regex):
                make()
        else:
            module = make()
            with pytest.raises(case.error_type, match=case.error_regex):
                module(*call.args, **call.kwargs)
