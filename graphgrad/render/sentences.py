"""A step of a derivation in a sentence: its rule, the forward node, the general rule, and the rule with these names."""

from __future__ import annotations

from graphgrad.derivation import Derivation
from graphgrad.notation import bar, is_matrix_transpose, latex_name
from graphgrad.render.backward import Share, share_formula, step_numbers, step_rule
from graphgrad.render.forward import Drawn

TOLD = {
    "en": {
        "seed": "Step {k}, seed: the derivative of {name} by itself is 1. {here}",
        "sum": "Step {k}, sum over consumers: {name} is read {n} times, and its adjoint sums what comes back. {here}",
        "rule": "Step {k}, rule {rule}, from {forward}. {general}{here}",
        "general": "In general {general}; ",
        "here": "here {here}.",
        "here_first": "{here}.",
        "start": "The forward pass. The derivation goes backwards from {name}.",
    },
    "es": {
        "seed": "Paso {k}, semilla: la derivada de {name} respecto de sí misma es 1. {here}",
        "sum": "Paso {k}, suma sobre los usos: {name} se usa {n} veces y su adjunto suma lo que vuelve. {here}",
        "rule": "Paso {k}, regla {rule}, desde {forward}. {general}{here}",
        "general": "En general {general}; ",
        "here": "aquí {here}.",
        "here_first": "{here}.",
        "start": "El paso hacia adelante. La derivación va hacia atrás desde {name}.",
    },
}


def sentence(drawn: Drawn, derivation: Derivation, share: Share) -> str:
    """What a frame says of its step."""
    told, naming, step = TOLD[drawn.lang], drawn.naming, share.step
    here = " = ".join(share_formula(drawn, derivation, share, latex=False))
    numbers = step_numbers(share.numbers)
    if step.operand is None:
        first = told["here_first"].format(here=here)
        n = len(derivation.contributions.get(step.target, ()))
        kind = "seed" if step.rule == "seed" else "sum"
        return told[kind].format(k=numbers, name=naming.node(step.target), n=n, here=first)
    general = general_rule(share, latex=False)
    return told["rule"].format(
        k=numbers,
        rule=step_rule(share, drawn.lang),
        forward=forward_text(drawn, share.origin),
        general=told["general"].format(general=general) if general else "",
        here=told["here" if general else "here_first"].format(here=here),
    )


def forward_text(drawn: Drawn, id: int) -> str:
    """z = x @ Wᵀ + b, as text."""
    naming = drawn.naming
    return f"{naming.node(id)} = {naming.formula(id, drawn.named)}"


def general_rule(share: Share, *, latex: bool) -> str:
    """The operator's own rule, in the names of its operands: x̄ = ȳ * y * (1 - y). "" where it has no short form."""
    steps = [s for s in share.inner if s.operand is not None and s.rule not in ("add", "transpose")] or [share.step]
    step = steps[0]
    operator, node = step.forward.operator, step.forward
    if operator.variadic or step.operand is None:
        return ""
    letter = "y" if "y" not in operator.operands else "z"
    names = {node.id: letter, **dict(zip(node.inputs, operator.operands, strict=True))}
    shown = {i: latex_name(name) if latex else name for i, name in names.items()}
    left = bar(shown[node.inputs[step.operand]], latex=latex)
    later = share.inner[share.inner.index(step) + 1 :]
    turned = sum(is_matrix_transpose(s.forward) for s in later) % 2 == 1  # yᵀ is what the rule's operand is here
    left += (r"^\top" if latex else "ᵀ") if turned else ""
    text = step.in_words(lambda i: shown[i], bar(letter, latex=latex), turned=turned, latex=latex)
    return f"{left} = {text}" if text and len(text) < (400 if latex else 120) else ""
