"""Which platform's contract the paths of a container keep: SageMaker's, or Vertex AI's.

Vertex AI tells its containers by variables; where one of them is set, the contract is kept without
being asked for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from adapterworks.gateway.config.tables import HttpTable

# https://cloud.google.com/vertex-ai/docs/predictions/custom-container-requirements
VERTEX = {
    "AIP_HTTP_PORT": ("port",),
    "AIP_HEALTH_ROUTE": ("http", "health_route"),
    "AIP_PREDICT_ROUTE": ("http", "predict_route"),
}
# https://docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-inference-code.html
_SAGEMAKER = ("/ping", "/invocations")
_VERTEX = ("/health", "/predict")


@dataclass(frozen=True, slots=True)
class Contract:
    """The two paths that a platform asks.

    Attributes:
        health: 200 when it may be sent requests, else 503.
        predict: where it sends them.
        instances: whether a body may hold several, `{"instances": […], "parameters": …}`.
    """

    health: str
    predict: str
    instances: bool


def contract_of(http: HttpTable) -> Contract | None:
    """The contract of `[http] container`; None where there is none."""
    if http.container is None:
        return None
    if http.container == "sagemaker":
        return Contract(*_SAGEMAKER, instances=False)
    health, predict = _VERTEX
    return Contract(http.health_route or health, http.predict_route or predict, instances=True)


def vertex_variables(environ: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    """Those of Vertex AI's variables that are set, with the key that each gives."""
    return {variable: path for variable, path in VERTEX.items() if environ.get(variable)}
