"""accelerate and restore on whole models of TiRex, TiRex-2 and xlstm."""

from __future__ import annotations

import copy
import pickle

import pytest
from tolerances import PEER_FLOAT32

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.peers

import fastcell  # noqa: E402
import fastcell.torch  # noqa: E402
from fastcell.torch import served, xlstm  # noqa: E402

WIDTH, HEADS = 256, 4  # heads of 64, whose products are served


def with_weights(model):
    torch.manual_seed(0)
    for name, parameter in model.named_parameters():
        if parameter.dim() > 1:
            fan = parameter.shape[-1]
            if "_recurrent_kernel_" in name:
                fan = 4 * parameter.shape[1]
            torch.nn.init.normal_(parameter, std=fan**-0.5)
        else:
            torch.nn.init.normal_(parameter, mean=0.3, std=0.3)
    return model.eval()


def tirex2():
    package = pytest.importorskip("tirex2.model")
    pytest.importorskip("flashrnn")
    sizes = {"embedding_dim": WIDTH, "num_heads": HEADS}
    templates = {
        kind: {
            "time_mixer": {"model_type": f"bi-{kind}", **sizes},
            "variate_mixer": sizes,
            "dropout": 0.0,
            "eps": 1e-6,
        }
        for kind in ("slstm", "mlstm")
    }
    model = package.TiRex2(
        {"templates": templates, "recipe": ["slstm", "mlstm"]},
        num_blocks=2,
        embedding_dim=WIDTH,
        input_patch_size=8,
        output_patch_size=8,
        quantiles=[0.1, 0.5, 0.9],
        tokenizer_cfg={
            "input_patch_size": 8,
            "output_patch_size": 8,
            "input_patch_stride": 8,
        },
        scaler_cfg={},
        h_expand=2,
        context_len=8 * 70,  # more than a chunk of the package's mLSTM
        future_len=32,
        input_ff_dim=96,
        act_func="ReLU",
        dropout=0.0,
        device="cpu",
    )
    return with_weights(model)


def series(T, future=0):
    types = pytest.importorskip("tirex2")
    torch.manual_seed(1)
    walk = torch.randn(1, T).cumsum(1)
    known = torch.randn(2, T + future) if future else None
    past = torch.randn(1, T) if future else None
    return types.TimeseriesType(walk, past_covariates=past, future_covariates=known)


def forecasts(model):
    """Return forecasts of series with and without covariates."""
    model.train(False)
    alone = model.predict([series(300), series(560)], 20)
    return [*alone, *model.predict([series(400, 20)], 20)]


def worst(got, expected):
    return max(
        float((a - b).abs().max() / b.abs().max().clamp(min=1))
        for a, b in zip(got, expected, strict=True)
    )


def are_equal(got, expected):
    return all(map(torch.equal, got, expected))


@pytest.fixture
def counted(monkeypatch):
    """Count the calls that fastcell computes."""
    calls = {"_linear": 0, "_mlstm": 0}
    for name in calls:
        function = getattr(served, name)

        def noted(*given, name=name, function=function):
            calls[name] += 1
            return function(*given)

        monkeypatch.setattr(served, name, noted)
    return calls


def test_a_forecast_of_tirex2_is_the_same_and_back(counted):
    model = tirex2()
    expected = forecasts(model)
    classes = [type(module) for module in model.modules()]
    keys, parameters = list(model.state_dict()), list(model.parameters())
    report = fastcell.torch.accelerate(model)
    assert not report.skipped
    cells = {"sLSTMFlashRNNLayer", "mLSTMBackend", "LinearHeadwiseExpand", "Linear"}
    assert cells <= set(report.swapped.values())
    dense = [m for m in model.modules() if isinstance(m, torch.nn.Linear)]
    assert all(isinstance(module, xlstm.Served) for module in dense)
    found = forecasts(model)
    assert 0 < worst(found, expected) < PEER_FLOAT32
    assert counted["_mlstm"] == 3  # of both forecasts, and of known covariates
    assert counted["_linear"] > 40
    assert list(model.state_dict()) == keys
    assert all(map(lambda a, b: a is b, model.parameters(), parameters))
    fastcell.torch.restore(model)
    assert [type(module) for module in model.modules()] == classes
    assert are_equal(forecasts(model), expected)


def test_a_forecast_of_tirex2_in_float64():
    model = tirex2()
    model.double()
    batch = {"x": torch.randn(3, 8 * 74).double()}
    batch["group_vector"] = torch.tensor([0, 0, 1])
    batch["target_mask"] = torch.tensor([True, False, True])
    with torch.no_grad():
        exact = model(batch)
        with fastcell.torch.accelerate(model):
            # The package's norms reduce in float32.
            assert worst([model(batch)], [exact]) < 1e-6


def test_tirex2_in_training_has_the_package_s_gradients(counted):
    model = tirex2()
    batch = {"x": torch.randn(3, 8 * 74)}
    batch["group_vector"] = torch.tensor([0, 0, 1])
    batch["target_mask"] = torch.tensor([True, False, True])

    def grads():
        model.zero_grad()
        model.train()(batch).square().mean().backward()
        return {n: p.grad.clone() for n, p in model.named_parameters()}

    expected = grads()
    fastcell.torch.accelerate(model)
    found = grads()
    assert counted == {"_linear": 0, "_mlstm": 0}
    for name, grad in expected.items():
        limit = PEER_FLOAT32 * max(1.0, float(grad.abs().max()))
        assert (found[name] - grad).abs().max() < limit, name


def test_changed_weights_are_read_again():
    model = tirex2()
    fastcell.torch.accelerate(model)
    forecasts(model)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(0.9)
    found = forecasts(model)
    fastcell.torch.restore(model)
    assert 0 < worst(found, forecasts(model)) < PEER_FLOAT32


def test_copies_and_pickles_of_tirex2_stay_swapped():
    model = tirex2()
    fastcell.torch.accelerate(model)
    expected = forecasts(model)
    for again in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert isinstance(again.input_patch_embedding.hidden_layer, xlstm.Served)
        assert are_equal(forecasts(again), expected)


def test_a_layer_of_tirex2_is_compiled_as_one_graph():
    layer = tirex2().stack[1].time_mixer.fwd_cell
    x = torch.randn(2, 74, WIDTH)
    with torch.no_grad():
        expected = layer(x)
        fastcell.torch.accelerate(layer)
        compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
        with torch.profiler.profile() as profile:
            found = compiled(x)
        operators = {event.name for event in profile.events()}
    assert {"fastcell::dense", "fastcell::mlstm"} <= operators
    assert worst([found], [expected]) < PEER_FLOAT32


@pytest.mark.parametrize("kind", [0, 1])
def test_a_layer_that_is_compiled_already_is_swapped_and_back(kind):
    layer = tirex2().stack[kind].time_mixer.fwd_cell
    x = torch.randn(2, 74, WIDTH)

    def run():
        with torch.profiler.profile() as profile:
            y = layer(x)
        return y, "fastcell::dense" in {event.name for event in profile.events()}

    layer.compile(backend="aot_eager")
    with torch.no_grad():
        expected, ours = run()
        assert not ours
        fastcell.torch.accelerate(layer)
        found, ours = run()
        assert ours
        assert worst([found], [expected]) < PEER_FLOAT32
        fastcell.torch.restore(layer)
        again, ours = run()
        assert not ours
        assert torch.equal(again, expected)


def test_tirex_is_nearer_to_float64_than_its_bfloat16():
    package = pytest.importorskip("tirex.models.tirex")
    config = {
        "input_patch_size": 8,
        "output_patch_size": 8,
        "quantiles": [0.1, 0.5, 0.9],
        "block_kwargs": {
            "embedding_dim": WIDTH,
            "num_heads": HEADS,
            "num_blocks": 2,
            "ffn_proj_factor": 2.0,
        },
        "input_ff_dim": 96,
    }
    model = package.TiRexZero("torch", model_config=config, train_ctx_len=160)
    with_weights(model)
    wide = copy.deepcopy(model).double()
    fastcell.torch.accelerate(wide)
    torch.manual_seed(1)
    context = torch.randn(3, 20, 16)
    with torch.inference_mode():
        exact = wide._forward_model(context.double())
        narrow = worst([model._forward_model(context)], [exact])
        known = torch.randn(3, 100).cumsum(1)
        expected, _ = model.forecast(known, prediction_length=12)
        assert not fastcell.torch.accelerate(model).skipped
        assert worst([model._forward_model(context)], [exact]) < narrow / 100
        found, _ = model.forecast(known, prediction_length=12)
        assert 0 < worst([found], [expected]) < 0.05  # of bfloat16


# -------------------------------------------------------------------------- xlstm


def block_stack():
    package = pytest.importorskip("xlstm")
    config = package.xLSTMBlockStackConfig(
        mlstm_block=package.mLSTMBlockConfig(
            mlstm=package.mLSTMLayerConfig(num_heads=HEADS)
        ),
        slstm_block=package.sLSTMBlockConfig(
            slstm=package.sLSTMLayerConfig(
                backend="vanilla", num_heads=HEADS, dtype="float32"
            ),
            feedforward=package.FeedForwardConfig(proj_factor=1.3, act_fn="gelu"),
        ),
        context_length=40,
        num_blocks=3,
        embedding_dim=64,
        slstm_at=[1],
    )
    return with_weights(package.xLSTMBlockStack(config))


def test_blocks_of_xlstm_are_the_same_and_back(counted):
    model = block_stack()
    x = torch.randn(2, 40, 64)
    with torch.no_grad():
        expected = model(x)
        report = fastcell.torch.accelerate(model)
        assert not report.skipped
        assert "mLSTMCell" in report.swapped.values()
        assert 0 < worst([model(x)], [expected]) < PEER_FLOAT32
        assert worst([model(x[:, :17])], [expected[:, :17]]) < PEER_FLOAT32
        assert counted["_mlstm"] == 4
        fastcell.torch.restore(model)
        assert torch.equal(model(x), expected)


def test_steps_of_xlstm_go_on_from_the_package_s_state(counted):
    model = block_stack()
    x = torch.randn(2, 6, 64)

    def steps(model, first, state):
        found = []
        for t in range(first, first + 3):
            y, state = model.step(x[:, t : t + 1], state=state)
            found.append(y)
        return torch.cat(found, 1), state

    with torch.no_grad():
        start, state = steps(model, 0, None)
        expected, _ = steps(model, 3, copy.deepcopy(state))
        fastcell.torch.accelerate(model)
        assert worst([steps(model, 0, None)[0]], [start]) < PEER_FLOAT32
        assert worst([steps(model, 3, state)[0]], [expected]) < PEER_FLOAT32
        assert counted["_mlstm"] == 12


def large(**options):
    package = pytest.importorskip("xlstm.xlstm_large.model")
    pytest.importorskip("mlstm_kernels")
    config = package.xLSTMLargeConfig(
        embedding_dim=64,
        num_heads=HEADS,
        num_blocks=2,
        vocab_size=11,
        chunkwise_kernel="chunkwise--native_autograd",
        sequence_kernel="native_sequence__native",
        step_kernel="native",
        autocast_kernel_dtype="float32",
        chunk_size=16,
        **options,
    )
    return with_weights(package.xLSTMLarge(config))


@pytest.mark.parametrize("weight_mode", ["single", "fused"])
def test_xlstm_large_goes_on_from_its_state(weight_mode, counted):
    model = large(mode="inference", return_last_states=True, weight_mode=weight_mode)
    ids = torch.randint(0, 11, (2, 21))

    def run():
        first, state = model(ids[:, :19])
        second, state = model(ids[:, 19:20], state)
        third, state = model(ids[:, 20:], state)
        return [first, second, third, *(part for s in state.values() for part in s)]

    with torch.inference_mode():
        expected = run()
        assert not fastcell.torch.accelerate(model).skipped
        found = run()
        assert counted["_mlstm"] == 6
        assert 0 < worst(found, expected) < PEER_FLOAT32
        assert [t.shape for t in found] == [t.shape for t in expected]
        assert [t.dtype for t in found] == [t.dtype for t in expected]
        fastcell.torch.restore(model)
        assert are_equal(run(), expected)


def test_a_part_of_a_state_and_autocast_are_the_package_s(counted):
    backend = large(mode="train").backbone.blocks[0].mlstm_layer.mlstm_backend
    fastcell.torch.accelerate(backend)
    q = torch.randn(1, HEADS, 16, 8)
    gate = torch.randn(1, HEADS, 16)
    with torch.no_grad(), torch.autocast("cpu"):
        assert torch.is_tensor(backend(q, q, q, gate, gate))
    assert counted["_mlstm"] == 0
    with torch.no_grad():
        y, state = backend(q, q, q, gate, gate, return_last_states=True)
        assert [tuple(part.shape) for part in state] == [
            (1, HEADS, 8, 8),
            (1, HEADS, 8),
            (1, HEADS, 1),
        ]
        assert torch.equal(backend(q, q, q, gate, gate), y)
    assert counted["_mlstm"] == 2


def test_sigmoid_input_gates_are_skipped_with_a_reason():
    package = pytest.importorskip("mlstm_kernels.torch.backend_module")
    kernel = "parallel--native_siging_autograd"
    config = package.mLSTMBackendConfig(kernel, return_last_states=False)
    report = fastcell.torch.accelerate(package.mLSTMBackend(config))
    assert not report.swapped
    assert kernel in report.skipped[""]


def test_dense_layers_of_other_modules_stay():
    model = torch.nn.ModuleDict({"own": torch.nn.Linear(3, 3), "blocks": block_stack()})
    report = fastcell.torch.accelerate(model)
    assert type(model["own"]) is torch.nn.Linear
    assert "own" not in report.swapped
    assert any(name.startswith("blocks") for name in report.swapped)
