"""OpenVINO's adapter, that of `fastcell._judge.openvino`."""

from __future__ import annotations

from fastcell._judge import openvino
from peers import BaseEngine


class Engine(openvino.Engine, BaseEngine):
    """See :class:`peers.BaseEngine`."""
