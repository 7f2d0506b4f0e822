"""What pictures and the page say beside formulas, in English and Spanish."""

from __future__ import annotations

from collections.abc import Mapping

from graphgrad.errors import GraphgradError

WORDS: dict[str, dict[str, str]] = {
    "en": {
        "derivation": "derivation of {name}",
        "forward": "forward",
        "backward": "backward",
        "update": "update",
        "seed": "seed",
        "sum": "sum over consumers",
        "more": "and {n} more",
        "parameters": "{n} parameters",
        "folded": "{n} scopes folded",
        "input": "input",
        "parameter": "parameter",
        "operation": "operation",
        "loss": "loss, output",
        "adjoint": "adjoint",
        "gradient": "gradient of a parameter",
        "state": "constant, state",
        "saved": "value used again",
        "positive": "positive",
        "negative": "negative",
        "bad": "not finite",
        "range": "{shape} from {low} to {high}",
        "rewrite": "rewrite",
        "peak": "peak {size}",
        "earlier": "{example}: ∂{scalar}/∂{target}, of an earlier derivation",
        "kept": "kept",
        "added": "added",
        "removed": "removed",
        "values": "values",
        "gradients": "gradients",
    },
    "es": {
        "derivation": "derivación de {name}",
        "forward": "hacia adelante",
        "backward": "hacia atrás",
        "update": "actualización",
        "seed": "semilla",
        "sum": "suma sobre los usos",
        "more": "y {n} más",
        "parameters": "{n} parámetros",
        "folded": "{n} bloques plegados",
        "input": "entrada",
        "parameter": "parámetro",
        "operation": "operación",
        "loss": "pérdida, salida",
        "adjoint": "adjunto",
        "gradient": "gradiente de un parámetro",
        "state": "constante, estado",
        "saved": "valor reutilizado",
        "positive": "positivo",
        "negative": "negativo",
        "bad": "no finito",
        "range": "{shape} de {low} a {high}",
        "rewrite": "reescritura",
        "peak": "máximo {size}",
        "earlier": "{example}: ∂{scalar}/∂{target}, de una derivación anterior",
        "kept": "se conserva",
        "added": "nuevo",
        "removed": "eliminado",
        "values": "valores",
        "gradients": "gradientes",
    },
}


def words(lang: str) -> Mapping[str, str]:
    if lang not in WORDS:
        raise GraphgradError(f"lang {lang!r} does not exist; there are: {', '.join(WORDS)}")
    return WORDS[lang]
