"""The page: a derivation as graph, formulas and generated code, linked, in one file that needs no network."""

from graphgrad.page.explain import Page, explain

__all__ = ["Page", "explain"]
