"""The smallest language model: after "hell" comes "ello".

The vocabulary is h, e, l, o. Each letter enters as a one-hot vector x_t. A vanilla
recurrent network reads the letters one by one and scores the next,

    h_t = tanh(W_hh h_{t-1} + W_xh x_t)
    y_t = W_hy h_t

and the softmax of the scores y_t is its probability of each next letter. h_t holds what
the network knows of the past: the letter l is followed by l once and by o once, so the
prediction depends on more than the present letter.

Training lowers the mean cross-entropy of the four right answers. Its gradient with
respect to the scores is softmax(y_t) - onehot(target_t); backward carries it through
W_hy and back through time to W_hh and W_xh, and Adam takes a step.
"""

import argparse

import numpy as np

import fastcell
from fastcell.losses import cross_entropy
from fastcell.optim import Adam

LETTERS = "helo"
HIDDEN_SIZE = 3


def softmax(y: np.ndarray) -> np.ndarray:
    """Return the probabilities that the scores y stand for."""
    e = np.exp(y - y.max())
    return e / e.sum()


def show(rnn: fastcell.RNN, output: fastcell.Linear, x: np.ndarray) -> None:
    """Print hidden state, scores and softmax of each step, then the answers."""
    h, _ = rnn(x)
    y = output(h)
    print(
        f"  t  in  {'hidden state h_t':24} {'scores y_t of h e l o':29} softmax -> out"
    )
    answers = ""
    for t in range(len(x)):
        p = softmax(y[t, 0])
        answers += LETTERS[p.argmax()]
        hidden, scores, beliefs = (
            " ".join(f"{value:{width}.2f}" for value in row)
            for row, width in ((h[t, 0], 6), (y[t, 0], 6), (p, 4))
        )
        read = LETTERS[x[t, 0].argmax()]
        print(f"  {t}   {read}  {hidden:24} {scores:29} {beliefs} -> {answers[-1]}")
    print(f'  after "hell" it says "{answers}"\n')


def main() -> None:
    """Show the network, train it, show it again."""
    argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    ).parse_args()
    ids = np.array([LETTERS.index(letter) for letter in "hello"])
    x = np.eye(len(LETTERS), dtype=np.float32)[ids[:-1], np.newaxis]  # (T, B, I)
    targets = ids[1:, np.newaxis]  # (T, B)

    rnn = fastcell.RNN(len(LETTERS), HIDDEN_SIZE, bias=False, seed=0)
    output = fastcell.Linear(HIDDEN_SIZE, len(LETTERS), bias=False, seed=1)
    optimizers = [Adam(layer.params, lr=0.05) for layer in (rnn, output)]
    print("before training")
    show(rnn, output, x)

    for step in range(201):
        h, _, rnn_saved = rnn.forward(x)
        y, output_saved = output.forward(h)
        loss, dy = cross_entropy(y, targets)
        dh, output_grads = output.backward(dy, output_saved)
        _, _, rnn_grads = rnn.backward(dh, rnn_saved)
        for optimizer, grads in zip(optimizers, (rnn_grads, output_grads), strict=True):
            optimizer.step(grads)
        if step % 50 == 0:
            print(f"step {step:3}: loss {loss:.4f} nats per letter")

    print("\nafter training")
    show(rnn, output, x)


if __name__ == "__main__":
    main()
