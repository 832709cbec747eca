"""A model of independent sequences for the tests of training."""

from __future__ import annotations

import numpy as np

from fastcell import GRU, Dropout, Linear
from fastcell.data import Sequences
from fastcell.losses import cross_entropy
from fastcell.models import Model
from fastcell.models.parts.common import SavedOnce, prefixed
from fastcell.optim import Adam
from fastcell.train import Trainer

WIDTH, CLASSES = 3, 2


class LastStep(Model):
    """Classify a sequence by the hidden state after its last step."""

    def __init__(self, hidden_size=5, seed=0):
        self.arguments = {"hidden_size": hidden_size, "seed": seed}
        self.rnn = GRU(WIDTH, hidden_size, seed=seed)
        self.dropout = Dropout(0.3, seed=seed + 1)
        self.decoder = Linear(hidden_size, CLASSES, seed=seed + 2)

    def children(self):
        return {"rnn": self.rnn, "dropout": self.dropout, "decoder": self.decoder}

    def config(self):
        return dict(self.arguments)

    def loss(self, batch, state=None):
        assert state is None
        x, lengths, y = batch
        h, _, rnn_saved = self.rnn.forward(x, lengths=lengths)
        ends = lengths - 1, np.arange(len(lengths))
        last, dropout_saved = self.dropout.forward(h[ends])
        logits, decoder_saved = self.decoder.forward(last)
        loss, dlogits = cross_entropy(logits, y)
        kept = (dlogits, decoder_saved, dropout_saved, h.shape, ends, rnn_saved)
        return loss, SavedOnce(None, *kept)

    def backward(self, saved):
        dlogits, decoder_saved, dropout_saved, shape, ends, rnn_saved = saved.take()
        dlast, decoder = self.decoder.backward(dlogits, decoder_saved)
        dh = np.zeros(shape, np.float32)
        dh[ends], _ = self.dropout.backward(dlast, dropout_saved)
        _, _, rnn = self.rnn.backward(dh, rnn_saved)
        return {**prefixed("rnn", rnn), **prefixed("decoder", decoder)}

    def predict(self, x, lengths):
        h, _ = self.rnn(x, lengths=lengths)
        return self.decoder(h[lengths - 1, np.arange(len(lengths))])

    def evaluate(self, batch, state=None):
        x, lengths, y = batch
        return cross_entropy(self.predict(x, lengths), y)[0], None

    def assess(self, batch, state=None):
        loss, state = self.evaluate(batch, state)
        right = (self.predict(*batch[:2]).argmax(-1) == batch[2]).sum()
        return loss, state, {"accuracy": (right, len(batch[2]))}

    def count(self, batch):
        return len(batch[2])


def sequences(count=40, seed=0, **options):
    """Walks that end above or below where they began."""
    random = np.random.default_rng(seed)
    walks = [
        random.normal(size=(n, WIDTH)).cumsum(0) for n in random.integers(1, 9, count)
    ]
    classes = [int(walk[-1, 0] > walk[0, 0]) for walk in walks]
    return Sequences(walks, classes, 4, **options)


def trainer_of(schedule=None, seed=0, lr=0.01, clip_norm=1.0, **options):
    model = LastStep(seed=seed)
    return Trainer(
        model, Adam(model.params, lr=lr), clip_norm, schedule, progress=False, **options
    )
